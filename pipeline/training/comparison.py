"""What the gate compares: a challenger with its rivals, or the champion's refresh with the fit before it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from models.errors import ModelError, first_line
from pipeline.features.snapshot import Snapshot
from pipeline.training.evaluate import Evaluation, check_task
from pipeline.training.fit import CLIMATOLOGY, REQUIRED_BASELINES, FittedModel, baseline_names, best_on_validation
from pipeline.training.folds import Folds
from pipeline.training.gate import HoldoutComparison, ScoredModel
from pipeline.training.history import PairedScores, ScoreHistory
from pipeline.training.holdout import TrainingOutcome
from pipeline.training.metrics import nominal_coverage
from pipeline.training.recalibration import score_recalibrated
from pipeline.training.recipe import Champion, unsuitable_reason

log = logging.getLogger(__name__)

RARELY_FEWER = 0.1
"""Fraction of the held-out issue times that have fewer values than is usual."""


def compare_challenger(
    snapshot: Snapshot,
    folds: Folds,
    outcome: TrainingOutcome,
    challenger: FittedModel,
    champion: Champion | None,
    history: ScoreHistory,
) -> HoldoutComparison:
    """Return the comparison of a challenger with the champion's recipe and the baselines.

    If the best baseline challenges a champion, only that, climatology and persistence are its rivals. A champion whose
    recipe does not suit the task any more is none: it cannot forecast this product.
    """
    is_baseline = champion is not None and challenger is best_on_validation(outcome.baselines)

    def score(fitted: FittedModel, name: str, *, champion: bool = False) -> ScoredModel:
        paired = pair_scores(snapshot, folds, outcome, challenger, fitted, history)
        return ScoredModel(name, outcome.holdout[fitted.name], champion, paired)

    rivals = [
        score(baseline, baseline.name)
        for baseline in outcome.baselines
        if baseline not in (challenger, outcome.champion) and (not is_baseline or baseline.name in REQUIRED_BASELINES)
    ]
    if champion is not None:
        if outcome.champion is not None:
            rivals.insert(0, score(outcome.champion, champion.name, champion=True))
        elif champion.recipe is None or unsuitable_reason(champion.recipe, snapshot.task) is None:
            name = f"{champion.name}, which cannot be scored"
            rivals.insert(0, ScoredModel(name, _no_scores(snapshot, folds), champion=True))
    return _comparison(snapshot, folds, outcome, challenger, rivals, champion, is_baseline=is_baseline)


def pair_scores(
    snapshot: Snapshot,
    folds: Folds,
    outcome: TrainingOutcome,
    challenger: FittedModel,
    rival: FittedModel,
    history: ScoreHistory,
) -> PairedScores:
    """Return the scores of two recipes of earlier nights, with those of the issue times that have matured since.

    They end before the first issue time that waits for late observations, because the first score is kept for good.
    """
    before = history.get((challenger.key, rival.key), PairedScores.empty()).until(folds.holdout[-1])
    both = [outcome.holdout[one.name] for one in (challenger, rival)]
    settled = _count_settled(snapshot, folds, both[0])
    scores = np.stack([one.crps_by_issue[:settled] for one in both])
    return before.extended(folds.holdout[:settled], scores, folds.open_for)


def _count_settled(snapshot: Snapshot, folds: Folds, scores: Evaluation) -> int:
    """Return how many held-out issue times, in order, come before the first that waits for late observations.

    One that has fewer values than nine in ten of the others waits for as long again as its forecast was open.
    """
    counts = np.isfinite(scores.crps).sum(axis=(1, 2, 3))
    usual = np.quantile(counts, RARELY_FEWER)
    for number, (issue, count) in enumerate(zip(folds.holdout, counts, strict=True)):
        if count < usual and issue + 2 * folds.open_for > snapshot.known_by:
            return number
    return len(folds.holdout)


def compare_refresh(
    snapshot: Snapshot, folds: Folds, outcome: TrainingOutcome, fitted: FittedModel, champion: Champion
) -> HoldoutComparison:
    """Return the comparison of tonight's fit of the champion's recipe with the judged fit that serves with it.

    They are compared on the newest fold, at the issue times that neither has learnt from. Where the former fit has no
    scores, the comparison says whether it can have none or scoring it failed.
    """
    former, unscored, failure = _no_scores(snapshot, folds), "", ""
    try:
        former = _former_scores(snapshot, folds, fitted, champion)
    except ModelError as error:
        unscored = first_line(error)
    except Exception as error:  # memory, a device, a library: the former fit may well be the better one
        failure = f"{type(error).__name__}: {first_line(error)}"
        log.exception("%s cannot be scored", champion.name)
    rivals = [ScoredModel(champion.name, former.relative_to(outcome.holdout.get(CLIMATOLOGY)), champion=True)]
    comparison = _comparison(snapshot, folds, outcome, fitted, rivals, champion)
    return replace(comparison, unscored=unscored, failure=failure)


def _former_scores(snapshot: Snapshot, folds: Folds, fitted: FittedModel, champion: Champion) -> Evaluation:
    """Return the scores of the former fit, corrected like those of tonight's, which forecasts the earlier folds.

    Raises:
        ModelError: it cannot be read, or cannot forecast what the product forecasts now.
    """
    if champion.judged is None or champion.judged_until is None:
        raise ModelError("its files cannot be read")
    check_task(champion.judged, snapshot.task)
    scores, _ = score_recalibrated((*fitted.models[:-1], champion.judged), snapshot, folds)
    until = max(champion.judged_until, folds.newest.holdout[0])
    unseen = np.array([issue >= until for issue in folds.holdout])[:, None, None, None]
    crps, errors, covered = (np.where(unseen, array, np.nan) for array in scores.arrays)
    return Evaluation(crps, errors, covered)


def _comparison(
    snapshot: Snapshot,
    folds: Folds,
    outcome: TrainingOutcome,
    fitted: FittedModel,
    rivals: Sequence[ScoredModel],
    champion: Champion | None,
    *,
    is_baseline: bool = False,
) -> HoldoutComparison:
    return HoldoutComparison(
        is_baseline=is_baseline,
        open_for=folds.open_for,
        challengers=len(
            {*snapshot.product.training.candidates, *baseline_names(grid=snapshot.task.grid is not None)}
            - (set(REQUIRED_BASELINES) - set(snapshot.product.training.candidates))
        ),
        older=champion is not None and champion.data_until is not None and champion.data_until > snapshot.newest_known,
        challenger=ScoredModel(fitted.name, outcome.holdout[fitted.name]),
        rivals=rivals,
        outage=outcome.outage.get(fitted.name),
        outage_reference=outcome.holdout.get(CLIMATOLOGY) or _no_scores(snapshot, folds),
        issues=folds.holdout,
        cases=folds.cases,
        nominal_coverage=nominal_coverage(snapshot.task.quantile_levels),
        issues_per_step=folds.issues_per_step,
        gap=snapshot.cadence.leads - snapshot.cadence.horizon,
        places="stations" if snapshot.task.grid is None else "cells",
    )


def _no_scores(snapshot: Snapshot, folds: Folds) -> Evaluation:
    shape = (len(folds.holdout), snapshot.cadence.horizon, len(snapshot.task.targets), len(snapshot.locations))
    missing = np.full(shape, np.nan)
    return Evaluation(missing, missing, missing)
