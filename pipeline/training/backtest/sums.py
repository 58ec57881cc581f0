"""Sums of scores over groups of forecasts. Sums add up, so origins are scored one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from models.task import Task
from pipeline.training import metrics
from pipeline.training.metrics import intervals

SEASONS = ("DJF", "MAM", "JJA", "SON")
HOURS = tuple(f"{hour:02}" for hour in range(24))
_VALUES = 1 << 22
"""Largest number of scores in memory at once."""
_COLUMNS = ("count", "crps", "absolute", "squared", "error")

Array = NDArray[np.float64]


@dataclass
class Sums:
    """The sums of one model and one variable: arrays (group, column), by kind of group."""

    levels: tuple[float, ...]
    by: dict[str, Array]
    crps: list[Array] = field(default_factory=list)
    """The sum of each issue time and lead: (issue, lead), one array per origin."""

    @classmethod
    def empty(cls, task: Task, horizon: int) -> Sums:
        """Return sums of nothing."""
        levels = task.quantile_levels
        columns = len(_COLUMNS) + len(intervals(levels)) + len(levels)
        groups = {"lead": horizon, "season": len(SEASONS), "hour": len(HOURS), "location": len(task.locations)}
        return cls(levels, {kind: np.zeros((size, columns)) for kind, size in groups.items()})

    def add(
        self,
        quantiles: NDArray[np.float32],
        truth: NDArray[np.float32],
        shared: NDArray[np.bool_],
        season: NDArray[np.intp],
        hour: NDArray[np.intp],
    ) -> None:
        """Add the forecasts of one origin.

        Args:
            quantiles: (issue, lead, location, quantile).
            truth: (issue, lead, location).
            shared: Same shape, True for the forecasts that count.
            season: (issue, lead), index of the season.
            hour: (issue, lead), hour of the day.
        """
        crps = np.zeros(truth.shape[:2])
        chunk = max(1, _VALUES // max(1, truth[0].size * self.by["lead"].shape[1]))
        for start in range(0, len(truth), chunk):
            part = slice(start, start + chunk)
            scores = np.where(shared[part], _scores(quantiles[part], truth[part], self.levels), 0.0)
            self.by["location"] += scores.sum(axis=(1, 2)).T
            by_time = np.moveaxis(scores.sum(axis=3), 0, -1)  # (issue, lead, column)
            self.by["lead"] += by_time.sum(axis=0)
            np.add.at(self.by["season"], season[part], by_time)
            np.add.at(self.by["hour"], hour[part], by_time)
            crps[part] = by_time[..., _COLUMNS.index("crps")]
        self.crps.append(crps)

    def groups(self, kind: str) -> list[GroupSums]:
        """Return the sums of every group of a kind; of the kind "overall" there is one."""
        rows = self.by["lead"].sum(axis=0, keepdims=True) if kind == "overall" else self.by[kind]
        return [GroupSums(row, len(intervals(self.levels))) for row in rows]

    @property
    def crps_by_issue(self) -> Array:
        """The sum of the CRPS of each issue time and lead: (issue, lead)."""
        return np.concatenate(self.crps)


@dataclass(frozen=True)
class GroupSums:
    """The sums of one group, and the scores that follow from them; NaN without a forecast."""

    row: Array
    intervals: int

    @property
    def count(self) -> int:
        """Number of forecast values."""
        return int(self.row[0])

    def mean(self, column: str) -> float:
        """Return the mean of a column."""
        return float(self._means[_COLUMNS.index(column)])

    @property
    def rmse(self) -> float:
        """Root mean square error of the median."""
        return float(np.sqrt(self.mean("squared")))

    @property
    def coverage(self) -> tuple[float, ...]:
        """Fraction of truths inside each interval, ends included; the widest first."""
        first = len(_COLUMNS)
        return tuple(self._means[first : first + self.intervals].tolist())

    @property
    def frequencies(self) -> tuple[float, ...]:
        """Fraction of truths that are not above the quantile of each level."""
        return tuple(self._means[len(_COLUMNS) + self.intervals :].tolist())

    @property
    def _means(self) -> Array:
        return self.row / self.row[0] if self.row[0] else np.full(len(self.row), np.nan)


def shared_cases(quantiles: Mapping[str, NDArray[np.float32]], truth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return where the truth is known and every model has a forecast: (issue, lead, target, location)."""
    shared = np.isfinite(truth)
    for values in quantiles.values():
        shared &= np.isfinite(values).all(axis=-1)
    return shared


def seasons_and_hours(
    times: Sequence[Sequence[datetime]],
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the index of the season and the hour of the day of times (issue, lead), in their own zone."""
    season = np.array([[time.month % 12 // 3 for time in row] for row in times], np.intp)
    return season, np.array([[time.hour for time in row] for row in times], np.intp)


def _scores(quantiles: NDArray[np.float32], truth: NDArray[np.float32], levels: tuple[float, ...]) -> Array:
    """Return every column for each forecast: (column, issue, lead, location)."""
    error = quantiles[..., levels.index(0.5)].astype(np.float64) - truth
    inside = [(truth >= quantiles[..., low]) & (truth <= quantiles[..., high]) for low, high in intervals(levels)]
    not_above = [truth <= quantiles[..., index] for index in range(len(levels))]
    columns = [np.ones(truth.shape), metrics.crps(quantiles, truth, levels), np.abs(error), error**2, error]
    return np.stack([*columns, *inside, *not_above])
