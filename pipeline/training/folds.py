"""Issue times for training, validation and the held-out comparison, in this order and without overlap of targets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Product
from pipeline.errors import NoDataError
from pipeline.features.arrays import Frames
from pipeline.features.asof import any_known
from pipeline.features.snapshot import Snapshot
from pipeline.times import Cadence, as_datetime

Fold = Literal["train", "validation", "holdout"]
SMALLEST_TRAINING_SET = 50


@dataclass(frozen=True)
class Folds:
    """Issue times by use, ascending. A fold starts when the last target of the fold before is known."""

    train: tuple[datetime, ...]
    validation: tuple[datetime, ...]
    holdout: tuple[datetime, ...]

    @property
    def trained_until(self) -> datetime:
        """The last issue time used for training or for the choice among candidates."""
        return self.validation[-1]


def split(snapshot: Snapshot) -> Folds:
    """Split the matured issue times of a snapshot into folds.

    Raises:
        NoDataError: there are too few issue times.
    """
    product, cadence, frames = snapshot.product, snapshot.cadence, snapshot.frames
    first = as_datetime(frames.times[0]) + product.forecast.context * cadence.step
    known = any_known(frames, snapshot.known_by)
    issues = [issue for issue in cadence.issues(first, snapshot.known_by) if _any_truth(issue, cadence, frames, known)]
    holdout = _last(_matured(issues, cadence, snapshot.known_by), product.gate.issues)
    validation = _last(_matured(issues, cadence, holdout[0]), product.training.validation) if holdout else []
    train = _matured(issues, cadence, validation[0]) if validation else []
    if train:
        start = train[-1] - product.training.window
        train = [issue for issue in train if issue >= start]
    _enough(product, len(train), len(validation), len(holdout))
    return Folds(tuple(train), tuple(validation), tuple(holdout))


def _matured(issues: list[datetime], cadence: Cadence, now: datetime) -> list[datetime]:
    """Return the issue times whose targets are all due by `now`."""
    return [issue for issue in issues if cadence.lead_times(issue)[-1] + cadence.delay <= now]


def _any_truth(issue: datetime, cadence: Cadence, frames: Frames, known: NDArray[np.bool_]) -> bool:
    """Return whether any target of an issue time is known; while a feed was down, none is."""
    start = frames.index(cadence.lead_times(issue)[0])
    return bool(known[max(start, 0) : max(start + cadence.horizon, 0)].any())


def _last(issues: list[datetime], count: int) -> list[datetime]:
    return issues[-count:]


def _enough(product: Product, train: int, validation: int, holdout: int) -> None:
    needed = product.gate.issues + product.training.validation + SMALLEST_TRAINING_SET
    if holdout < product.gate.issues or validation < product.training.validation or train < SMALLEST_TRAINING_SET:
        raise NoDataError(
            f"{product.name}: {train + validation + holdout} matured issue times, training needs at least {needed}: "
            f"gate.issues {product.gate.issues} + training.validation {product.training.validation} "
            f"+ {SMALLEST_TRAINING_SET}; load more history or lower them"
        )
