"""Folds of a rolling-origin evaluation: issue times to train on, to validate on and to hold out, without overlap."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Product
from pipeline.errors import NoDataError
from pipeline.features.arrays import Frames
from pipeline.features.asof import any_known
from pipeline.features.snapshot import Snapshot
from pipeline.features.windows import IssueWindows
from pipeline.steps import add, longest, mean_length
from pipeline.times import Cadence, as_datetime
from pipeline.training.verdict import FEW_CASES

Part = Literal["train", "validation", "holdout"]

HELD_OUT = timedelta(days=365)
"""Length of the held-out period where the record is long enough: a year has every season."""
HISTORY = 2
"""Held-out periods of training data before the held-out period, from which one fold is enough."""
SEVERAL = 4
"""Folds where the record is shorter, so that only the first is trained on little."""
VALIDATION = 0.2
"""Fraction of the issue times before the held-out ones that is used for validation, at most a year."""
MOST = 1500
"""Most issue times to validate on, and to hold out over all folds; more are thinned evenly."""
VALUES = 10_000_000
"""Most values that a model is scored on, which bounds memory on large grids; but at least FEWEST_SCORED issue times."""
FEWEST_SCORED = 180
FEWEST = 30
"""Fewest matured issue times that can be divided at all."""
SMALLEST_TRAINING_SET = 50
"""Fewest issue times to train on where a product fixes the others, and fewest for a model other than a baseline."""


@dataclass(frozen=True)
class Fold:
    """Issue times by use, ascending. Each use starts when the last target of the one before is known."""

    train: tuple[datetime, ...]
    validation: tuple[datetime, ...]
    holdout: tuple[datetime, ...]

    @property
    def trained_until(self) -> datetime:
        """The last issue time used to train or to validate."""
        return self.validation[-1]

    @property
    def data_until(self) -> datetime:
        """The time by which everything that a model of this fold has seen was known."""
        return self.holdout[0]

    def windows(self, snapshot: Snapshot, part: Part, *, size: float = 1.0) -> IssueWindows:
        """Return the windows of one part, or of a fraction `size` of it, the newest ones.

        Targets to train or validate on are as known when the next part starts, held-out ones as known at the snapshot.
        """
        known_by = {"train": self.validation[0], "validation": self.holdout[0], "holdout": snapshot.known_by}
        issues: tuple[datetime, ...] = getattr(self, part)
        return snapshot.windows(issues[-max(1, round(size * len(issues))) :], truth_at=known_by[part])


@dataclass(frozen=True)
class Folds:
    """The folds in order of time. Their held-out issue times follow each other and cover the held-out period."""

    folds: tuple[Fold, ...]
    matured: tuple[datetime, ...]
    """Every issue time whose targets are all due."""
    issues_per_step: float
    """Held-out issue times per time step."""
    leads: int
    """Steps that a forecast covers, from the newest known frame on."""
    open_for: timedelta = timedelta(0)
    """Longest time from the issue time of a forecast until its last value is due."""

    @property
    def newest(self) -> Fold:
        """The fold with the most training data."""
        return self.folds[-1]

    @property
    def holdout(self) -> tuple[datetime, ...]:
        """The held-out issue times of all folds."""
        return tuple(issue for fold in self.folds for issue in fold.holdout)

    @property
    def validated(self) -> int:
        """Number of issue times to validate on, of all folds."""
        return sum(len(fold.validation) for fold in self.folds)

    @property
    def cases(self) -> int:
        """Number of held-out forecasts without a common valid time, about."""
        return max(1, int(len(self.holdout) / max(1.0, self.leads * self.issues_per_step)))


def split(snapshot: Snapshot) -> Folds:
    """Divide the matured issue times of a snapshot into folds.

    The held-out period is the newest year, or what gives 30 independent cases if that is longer, but never more than
    half of the record. With at least twice its length before it there is one fold; on a shorter record there are four,
    each trained on everything before its part of the period. Where the product gives numbers of issue times, there is
    one fold of these.

    Raises:
        NoDataError: there are too few issue times.
    """
    product, cadence, frames = snapshot.product, snapshot.cadence, snapshot.frames
    first = add(as_datetime(frames.times[0]), product.forecast.context, cadence.step)
    known = any_known(frames, snapshot.known_by)
    issues = [issue for issue in cadence.issues(first, snapshot.known_by) if _any_truth(issue, cadence, frames, known)]
    return divide(product, cadence, issues, now=snapshot.known_by, most=most_scored(snapshot))


def most_scored(snapshot: Snapshot) -> int:
    """Return the most issue times that a model is scored on; on a large grid fewer, which bounds memory and time."""
    values = snapshot.cadence.horizon * len(snapshot.task.targets) * len(snapshot.locations)
    return max(FEWEST_SCORED, min(MOST, VALUES // values))


def divide(product: Product, cadence: Cadence, issues: Sequence[datetime], *, now: datetime, most: int = MOST) -> Folds:
    """Divide issue times, ascending, into folds as `split` does; those whose targets are not due by `now` are left out.

    Raises:
        NoDataError: there are too few issue times.
    """
    matured = matured_by(list(issues), cadence, now)
    if len(matured) < FEWEST:
        raise NoDataError(
            f"{product.name}: {len(matured)} matured issue times, training needs at least {FEWEST}; load more "
            "history, lower forecast.context or forecast.horizon, or wait until more forecasts can be verified"
        )
    counted = product.gate.issues is not None or product.training.validation is not None
    divided = _counted if counted else _derived
    folds = divided(product, cadence, matured, most)
    holdout = [issue for fold in folds for issue in fold.holdout]
    spacing = [after - before for before, after in pairwise(holdout)]
    usual = [one for one in spacing if one <= 2 * sorted(spacing)[len(spacing) // 2]]  # not the outages
    density = len(usual) * mean_length(cadence.step) / sum(usual, timedelta()) if usual else 1.0
    open_for = cadence.horizon * longest(cadence.step) + cadence.delay
    return Folds(tuple(folds), tuple(matured), density, cadence.leads, open_for)


def _counted(product: Product, cadence: Cadence, matured: list[datetime], most: int) -> list[Fold]:
    """Return the one fold whose numbers of issue times the product gives."""
    held_out = product.gate.issues or _count(matured, _held_out_length(cadence, matured))
    holdout = matured[-held_out:]
    before = matured_by(matured, cadence, holdout[0]) if holdout else []
    validation = before[-product.training.validation :] if product.training.validation else _validation(before)
    train = recent(matured_by(before, cadence, validation[0]), product.training.window) if validation else []
    least = product.training.validation or 1
    if len(holdout) < held_out or len(validation) < least or len(train) < SMALLEST_TRAINING_SET:
        given = {"gate.issues": product.gate.issues, "training.validation": product.training.validation}
        fields = " and ".join(name for name, value in given.items() if value is not None)
        raise NoDataError(
            f"{product.name}: of {len(matured)} matured issue times, {held_out} are to be held out, which leaves "
            f"{len(validation)} to validate on and {len(train)} to train on; needed are {least} and "
            f"{SMALLEST_TRAINING_SET}. Issue times whose forecasts overlap the next period are left out. Load more "
            f"history, or lower or leave out {fields} in the product file"
        )
    if product.training.validation is None:
        validation = list(thin(validation, most))
    if product.gate.issues is None:
        holdout = list(thin(holdout, most))
    return [Fold(tuple(train), tuple(validation), tuple(holdout))]


def _derived(product: Product, cadence: Cadence, matured: list[datetime], most: int) -> list[Fold]:
    """Return folds that follow from the length of the record."""
    length = _held_out_length(cadence, matured)
    number = 1 if matured[-1] - matured[0] >= (HISTORY + 1) * length else SEVERAL
    return rolling(product, cadence, matured, length, number, most)


def rolling(
    product: Product, cadence: Cadence, matured: list[datetime], length: timedelta, number: int, most: int
) -> list[Fold]:
    """Return folds whose held-out issue times follow each other and cover the newest `length` of `matured`.

    Each is trained on everything before its part, at most `training.window`. At most `most` issue times are held out
    over all folds, and validated on in each.

    Raises:
        NoDataError: there are too few issue times.
    """
    folds = []
    for part in np.array_split(np.arange(len(matured))[-_count(matured, length) :], number):
        holdout = [matured[index] for index in part]
        before = matured_by(matured, cadence, holdout[0])
        validation = _validation(before)
        train = recent(matured_by(before, cadence, validation[0]), product.training.window) if validation else []
        if not train:
            raise NoDataError(
                f"{product.name}: {len(matured)} matured issue times are too few for forecasts of {cadence.leads} "
                "steps; load more history, or lower forecast.horizon"
            )
        folds.append(Fold(tuple(train), thin(validation, most), thin(holdout, most // number)))
    return folds


def _held_out_length(cadence: Cadence, matured: Sequence[datetime]) -> timedelta:
    if not matured:
        return timedelta()
    enough = FEW_CASES * cadence.leads * mean_length(cadence.step)
    return min((matured[-1] - matured[0]) / 2, max(HELD_OUT, enough))


def _validation(before: list[datetime]) -> list[datetime]:
    """Return the issue times to validate on: the newest fifth of those before the held-out ones, at most a year."""
    newest = before[-max(1, round(VALIDATION * len(before))) :]
    return recent(newest, HELD_OUT)


def _count(matured: Sequence[datetime], length: timedelta) -> int:
    """Return the number of issue times in the last `length`."""
    return len(recent(matured, length))


def matured_by(issues: list[datetime], cadence: Cadence, now: datetime) -> list[datetime]:
    """Return the issue times whose targets are all due by `now`."""
    return issues[: bisect_right(issues, now, key=lambda issue: cadence.lead_times(issue)[-1] + cadence.delay)]


def recent(issues: Sequence[datetime], length: timedelta) -> list[datetime]:
    """Return the issue times from `length` before the last one on."""
    return [issue for issue in issues if issue >= issues[-1] - length]


def _any_truth(issue: datetime, cadence: Cadence, frames: Frames, known: NDArray[np.bool_]) -> bool:
    """Return whether any target of an issue time is known; while a feed was down, none is."""
    start = frames.index(cadence.lead_times(issue)[0])
    return bool(known[max(start, 0) : max(start + cadence.horizon, 0)].any())


def thin(issues: Sequence[datetime], most: int) -> tuple[datetime, ...]:
    """Return at most `most` issue times, evenly spread, so that every hour of the day remains."""
    if len(issues) <= most:
        return tuple(issues)
    return tuple(issues[index] for index in np.linspace(0, len(issues) - 1, most).round().astype(int))
