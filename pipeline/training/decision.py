"""The decisions of a retrain: which recipe serves from now on, and which fit of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from models.base import Model
from models.errors import ModelError
from pipeline.features.snapshot import Snapshot
from pipeline.training.batch_test import can_compare
from pipeline.training.comparison import compare_challenger, compare_refresh, pair_scores
from pipeline.training.fit import FittedModel, OnEpoch, ignore_epoch
from pipeline.training.folds import Folds
from pipeline.training.gate import decide, decide_refresh
from pipeline.training.history import ScoreHistory
from pipeline.training.holdout import TrainingOutcome
from pipeline.training.recipe import Champion
from pipeline.training.refit import refit, refit_checked
from pipeline.training.verdict import Verdict

log = logging.getLogger(__name__)

MOST_WARM_STARTS = 6
"""Refreshes in a row that continue from the fit before; the next one starts from scratch.

Each adds a quarter of the training length that validation found best, so more of them would overfit unnoticed.
"""


@dataclass(frozen=True)
class FittedModels:
    """A model to serve, and the baselines to serve beside it, fitted on the same data."""

    model: Model
    baselines: Mapping[str, Model]
    """By name, best on the held-out issue times first."""
    trained_until: datetime
    """Last issue time used in training."""
    data_until: datetime
    """Time by which all training data were known."""


@dataclass(frozen=True)
class Decision:
    """The verdict on a fitted recipe that asked to serve."""

    fitted: FittedModel
    verdict: Verdict
    judged: FittedModels
    """What the gate scored."""
    refit: FittedModels | None = None
    """The same recipes fitted on all data, which serve in place of the judged fits."""
    warm_starts: int = 0
    """Number of refreshes in a row that continued from the fit before."""

    @property
    def serves(self) -> bool:
        """Whether it serves from now on."""
        return not self.verdict.objections


def decide_all(
    snapshot: Snapshot,
    folds: Folds,
    outcome: TrainingOutcome,
    champion: Champion | None,
    history: ScoreHistory,
    *,
    on_epoch: OnEpoch = ignore_epoch,
) -> tuple[Decision, ...]:
    """Return the decisions of a retrain, the one on a challenger first; at most one of them is to serve.

    The first challenger that passes the gate is promoted. If none does, the champion's recipe is fitted again on all
    data, and serves in place of the fit before it unless it is worse.
    """
    rules = snapshot.product.gate
    decisions = []
    for challenger in outcome.challengers:
        if challenger is outcome.champion:
            continue
        verdict = decide(compare_challenger(snapshot, folds, outcome, challenger, champion, history), rules)
        judged = _judged(folds, outcome, challenger)
        if verdict.promoted:
            refitted = refit_checked(snapshot, folds, challenger, rules, on_epoch=on_epoch)
            verdict = verdict.model_copy(update={"refit": refitted.objections})
            model = None if refitted.objections else refitted.model
            return (Decision(challenger, verdict, judged, _beside(model, snapshot, folds, outcome, judged)),)
        decisions.append(Decision(challenger, verdict, judged))
    if champion is not None and outcome.champion is not None:
        # The best baseline challenges every night; that it does not replace the champion is not recorded each time.
        refused = [one for one in decisions if one.fitted in outcome.candidates][:1]
        return (*refused, _refresh(snapshot, folds, outcome, outcome.champion, champion, on_epoch))
    return tuple(decisions[:1])


def extend_history(folds: Folds, outcome: TrainingOutcome, history: ScoreHistory) -> ScoreHistory:
    """Return the history of every pair that the gate may compare, with tonight's scores."""
    pairs = {
        (challenger.key, rival.key): pair_scores(folds, outcome, challenger, rival, history)
        for challenger in outcome.challengers
        for rival in outcome.fitted
        if rival is not challenger
    }
    # A pair with too few cases has not been tested, so it may start again when there are more.
    return {pair: one for pair, one in pairs.items() if can_compare(one.batch, one.overlap(folds.open_for))}


def _refresh(
    snapshot: Snapshot,
    folds: Folds,
    outcome: TrainingOutcome,
    fitted: FittedModel,
    champion: Champion,
    on_epoch: OnEpoch,
) -> Decision:
    rules, warm = snapshot.product.gate, champion.warm_starts < MOST_WARM_STARTS
    start = champion.serving if warm else None
    refitted = refit_checked(snapshot, folds, fitted, rules, start=start, on_epoch=on_epoch)
    comparison = compare_refresh(snapshot, folds, outcome, fitted, champion)
    verdict = decide_refresh(comparison, rules, refitted.objections)
    model, judged = None if verdict.objections else refitted.model, _judged(folds, outcome, fitted)
    beside = _beside(model, snapshot, folds, outcome, judged)
    return Decision(fitted, verdict, judged, beside, champion.warm_starts + 1 if warm else 0)


def _judged(folds: Folds, outcome: TrainingOutcome, fitted: FittedModel) -> FittedModels:
    baselines = {one.name: one.model for one in outcome.baselines if one is not fitted}
    return FittedModels(fitted.model, baselines, folds.newest.trained_until, folds.newest.data_until)


def _beside(
    model: Model | None, snapshot: Snapshot, folds: Folds, outcome: TrainingOutcome, judged: FittedModels
) -> FittedModels | None:
    """Return a refit with the baselines fitted on the same data; one that fails keeps its judged fit."""
    if model is None:
        return None
    baselines = {}
    for one in outcome.baselines:
        if one.name in judged.baselines:
            try:
                baselines[one.name] = refit(snapshot, folds, one)
            except Exception as error:  # a fallback is not worth the refit of the model that serves
                log.warning(
                    "baseline %s cannot be fitted on all data: %s",
                    one.name,
                    error,
                    exc_info=not isinstance(error, ModelError),
                )
                baselines[one.name] = one.model
    return FittedModels(model, baselines, folds.matured[-1], snapshot.newest_known)
