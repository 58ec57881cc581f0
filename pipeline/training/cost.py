"""What a model costs, asked before it is fitted: the time of a fit to a small part of the data."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from models.base import Model
from models.errors import ModelError
from pipeline.features.snapshot import Snapshot
from pipeline.training.evaluate import evaluate
from pipeline.training.folds import Fold, Folds
from pipeline.training.recalibration import score_recalibrated

log = logging.getLogger(__name__)

TRIALS = (16, 4)
"""A model is first fitted to one part in 16; where that tells too little, to one in 4."""
FEWEST = 20
"""Fewest issue times to train on in a trial, but never more than half of those there are."""
SCORED = 32
"""Issue times forecast in a trial."""
SIZES = (1.0, 0.5, 0.25, 0.125)
"""Fractions of the training issue times, the newest ones, that a model may be fitted to."""


@dataclass(frozen=True)
class Cost:
    """Seconds that a model takes on this machine."""

    fit: float
    """Of the fit on the newest fold, without its parts."""
    issue: float
    """Of one held-out issue time: the forecast, its checks, its correction and its score."""


@dataclass(frozen=True)
class Estimate:
    """Expected seconds, from trials."""

    fixed: float
    """Of any fit on the newest fold."""
    slope: float
    """Of a fit on all of it, in addition; that of a part is in proportion."""
    issue: float
    """Seconds of the forecast and the score of one issue time."""

    def fit(self, size: float = 1.0) -> float:
        """Return the seconds of a fit to a fraction of the training issue times."""
        return self.fixed + self.slope * size


def estimate(
    model: Model, snapshot: Snapshot, fold: Fold, parts: Mapping[str, Model], seconds: float
) -> Estimate | None:
    """Return what a model costs by timing fits to parts of a fold; None where it cannot be fitted to so little.

    Args:
        model: The model; it is fitted.
        snapshot: The data.
        fold: The newest fold.
        parts: Fitted parts of the model.
        seconds: Time for such a fit. Where the cost in proportion to the first trial exceeds it, but that of the trial
            does not, a second trial tells fixed costs apart: imports, the solution of a system of equations.
    """
    every = len(fold.train)
    known: list[tuple[float, float, float]] = []
    for part in TRIALS:
        count = max(1, min(every // 2, max(FEWEST, every // part)))
        size = count / every
        if known and not _needs_another(known[0], size, seconds, model):
            break
        try:
            known.append((size, *_time(model, snapshot, fold, count, parts)))
        except ModelError as error:  # perhaps there was too little to learn from: the larger part may tell
            log.info("%s: no estimate of its cost from %d issue times: %s", model.name, count, error)
    if not known:
        return None
    (size, fit, issue), *more = known
    if not more:
        return Estimate(0.0, fit / size, issue)
    larger, longer, issue = more[0]
    slope = max(0.0, (longer - fit) / (larger - size))
    return Estimate(max(0.0, longer - slope * larger), slope, issue)


def correction_seconds(models: Sequence[Model], snapshot: Snapshot, folds: Folds, issue: float) -> float:
    """Return the seconds of the checks and the correction of one held-out issue time, about the same for every model.

    Args:
        models: A cheap model, fitted on every fold.
        snapshot: The data.
        folds: The issue times.
        issue: Seconds of its forecast and score of one issue time.

    Raises:
        ModelError: it cannot forecast the held-out issue times.
    """
    some = replace(folds, folds=tuple(replace(fold, holdout=fold.holdout[:SCORED]) for fold in folds.folds))
    started = time.monotonic()
    score_recalibrated(models, snapshot, some)
    return max(0.0, (time.monotonic() - started) / len(some.holdout) - issue)


def _needs_another(first: tuple[float, float, float], size: float, seconds: float, model: Model) -> bool:
    """Return whether a trial on a larger fraction of the data tells more, and there is time for it."""
    smaller, fit, _ = first
    if model.keeps_to_budget or size <= smaller:
        return False
    return fit / smaller > seconds and fit <= seconds


def _time(model: Model, snapshot: Snapshot, fold: Fold, count: int, parts: Mapping[str, Model]) -> tuple[float, float]:
    """Return the seconds of a fit to the newest `count` issue times, and those to forecast and score one."""
    validation = fold.validation[-max(1, len(fold.validation) * count // len(fold.train)) :]
    train = snapshot.windows(fold.train[-count:], truth_at=fold.validation[0])
    scored = snapshot.windows(validation[-SCORED:], truth_at=fold.holdout[0])
    started = time.monotonic()
    model.fit(train, snapshot.windows(validation, truth_at=fold.holdout[0]), budget_seconds=0.0, parts=parts)
    fitted = time.monotonic()
    evaluate(model, scored)
    return fitted - started, (time.monotonic() - fitted) / len(scored)
