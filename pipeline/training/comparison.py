"""The challenger, the champion and the baselines, scored on the same held-out issue times for the gate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.base import Model
from models.errors import ModelError
from pipeline.features.snapshot import Snapshot
from pipeline.training.evaluate import Evaluation, evaluate
from pipeline.training.fit import CLIMATOLOGY, fold_windows
from pipeline.training.folds import Folds
from pipeline.training.gate import HoldoutComparison, ScoredModel
from pipeline.training.holdout import TrainingOutcome
from pipeline.training.metrics import nominal_coverage


@dataclass(frozen=True)
class Champion:
    """The registry version in service, and its model."""

    version: int
    model: Model | None
    """None if it cannot be loaded; the gate then refuses every challenger."""


def prepare_comparison(
    snapshot: Snapshot, folds: Folds, outcome: TrainingOutcome, champion: Champion | None
) -> HoldoutComparison:
    """Return what the gate compares.

    A champion of another task is not a rival: if stations, quantiles or horizon have changed since, it cannot forecast
    this product any more.
    """
    rivals = [ScoredModel(fitted.name, outcome.holdout[fitted.name]) for fitted in outcome.baselines]
    reference = outcome.holdout.get(CLIMATOLOGY)
    if champion is not None and (champion.model is None or champion.model.task == snapshot.task):
        rivals.insert(0, _score_champion(snapshot, folds, champion, reference))
    challenger = outcome.challenger.name
    return HoldoutComparison(
        challenger=ScoredModel(challenger, outcome.holdout[challenger]),
        rivals=rivals,
        outage=outcome.outage,
        outage_reference=reference or _no_scores(snapshot, folds),
        issues=folds.holdout,
        nominal_coverage=nominal_coverage(snapshot.task.quantile_levels),
        issues_per_step=_issues_per_step(snapshot, folds),
        gap=snapshot.cadence.leads - snapshot.cadence.horizon,
        places="stations" if snapshot.task.grid is None else "cells",
    )


def _score_champion(snapshot: Snapshot, folds: Folds, champion: Champion, reference: Evaluation | None) -> ScoredModel:
    """Score the champion; one that cannot be scored has NaN everywhere, so that no challenger is shown to beat it."""
    name = f"champion version {champion.version}"
    try:
        if champion.model is not None:
            scores = evaluate(champion.model, fold_windows(snapshot, folds, "holdout"))
            return ScoredModel(name, scores.relative_to(reference), champion=True)
    except ModelError:
        pass
    return ScoredModel(f"{name}, which cannot be scored", _no_scores(snapshot, folds), champion=True)


def _issues_per_step(snapshot: Snapshot, folds: Folds) -> float:
    span = folds.holdout[-1] - folds.holdout[0]
    return (len(folds.holdout) - 1) * snapshot.cadence.step / span


def _no_scores(snapshot: Snapshot, folds: Folds) -> Evaluation:
    shape = (len(folds.holdout), snapshot.cadence.horizon, len(snapshot.task.targets), len(snapshot.locations))
    missing = np.full(shape, np.nan)
    return Evaluation(missing, missing, missing)
