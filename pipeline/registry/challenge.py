"""The challenger before the gate, with the champion set on the same held-out issue times as everyone else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.errors import ModelError
from pipeline.features.snapshot import Snapshot
from pipeline.registry.bundle import Bundle
from pipeline.training.evaluate import Evaluation, evaluate
from pipeline.training.fit import CLIMATOLOGY, windows
from pipeline.training.folds import Folds
from pipeline.training.gate import ScoredModel, Trial
from pipeline.training.holdout import Trained
from pipeline.training.metrics import nominal_coverage


@dataclass(frozen=True)
class Champion:
    """The champion as the gate meets it."""

    version: int
    bundle: Bundle | None
    """None when it cannot be loaded: the gate then refuses, since nothing can be compared."""


def prepare_trial(snapshot: Snapshot, folds: Folds, trained: Trained, incumbent: Champion | None) -> Trial:
    """Return what the gate looks at.

    A champion that was trained for another task (stations, quantiles or horizon have changed since) is no rival: it
    cannot forecast this product any more.
    """
    rivals = [ScoredModel(one.name, trained.holdout[one.name]) for one in trained.baselines]
    reference = trained.holdout.get(CLIMATOLOGY)
    if incumbent is not None:
        champion = _champion(snapshot, folds, incumbent, reference)
        if champion is not None:
            rivals.insert(0, champion)
    return Trial(
        challenger=ScoredModel(trained.challenger.name, trained.holdout[trained.challenger.name]),
        rivals=rivals,
        outage=trained.outage,
        outage_reference=reference or _unknown(snapshot, folds),
        issues=folds.holdout,
        nominal_coverage=nominal_coverage(snapshot.task.quantiles),
        issues_per_step=_issues_per_step(snapshot, folds),
        gap=snapshot.cadence.leads - snapshot.cadence.horizon,
        places="stations" if snapshot.task.grid is None else "cells",
    )


def _issues_per_step(snapshot: Snapshot, folds: Folds) -> float:
    span = folds.holdout[-1] - folds.holdout[0]
    return (len(folds.holdout) - 1) * snapshot.cadence.step / span


def _unknown(snapshot: Snapshot, folds: Folds) -> Evaluation:
    """Scores that nothing can be compared with."""
    nothing = np.full(
        (len(folds.holdout), snapshot.cadence.horizon, len(snapshot.task.targets), len(snapshot.locations)), np.nan
    )
    return Evaluation(nothing, nothing, nothing)


def _champion(
    snapshot: Snapshot, folds: Folds, incumbent: Champion, reference: Evaluation | None
) -> ScoredModel | None:
    name = f"champion version {incumbent.version}"
    try:
        if incumbent.bundle is None:
            raise ModelError("it cannot be loaded")
        model = incumbent.bundle.challenger()
        if model.task != snapshot.task:
            return None
        scores = evaluate(model, windows(snapshot, folds)("holdout"))
        return ScoredModel(name, scores.relative_to(reference), champion=True)
    except ModelError:
        return ScoredModel(f"{name}, which cannot be scored", _unknown(snapshot, folds), champion=True)
