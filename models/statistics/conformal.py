"""Recalibration of quantiles by how often recent observations stayed below them.

Every level follows its coverage: where too few observations stayed below it, it is raised, by a share of the forecast's
own width (quantile tracking: Gibbs and Candes 2021, arXiv:2106.00170; Angelopoulos, Candes and Tibshirani 2023,
arXiv:2307.16895). Steps shrink like those of a mean down to a floor (Angelopoulos, Barber and Bates 2024,
arXiv:2402.01139): few cases correct little, and old ones are forgotten. Nothing about the distribution is assumed, and
tails need no extrapolation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Self

import numpy as np
from numpy.typing import NDArray

from models.base import State, take
from models.task import Task

HOURS = 24
Limits = Sequence[tuple[float | None, float | None]]
# Prior weight and memory of the width of intervals, in independent cases, and of shifts of all levels in one direction.
# A bias of a season seldom lasts: following it as fast as the width made the CRPS of short records 1 to 2 % worse.
_PRIOR, _MEMORY = 10.0, 50.0
_SHIFT_PRIOR, _SHIFT_MEMORY = 100.0, 100.0
# Largest shift, in widths of the outermost interval.
_LARGEST = 1.0

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Recalibration:
    """Shifts of quantiles, in widths of the forecast's outermost interval.

    Attributes:
        by_lead: (lead, target, quantile), for each lead after the issue time.
        by_hour: (24, target, quantile), added for the hour of the valid time in UTC; 0 for steps of a day or more.
    """

    by_lead: NDArray[np.float32]
    by_hour: NDArray[np.float32]

    @property
    def horizon(self) -> int:
        """Number of leads."""
        return len(self.by_lead)

    def __call__(
        self, quantiles: NDArray[np.float32], valid_time: NDArray[np.datetime64], limits: Limits
    ) -> NDArray[np.float32]:
        """Return corrected quantiles, ordered and within the limits.

        Args:
            quantiles: (n, lead, target, location, quantile), ordered.
            valid_time: (n, lead), UTC.
            limits: lowest and highest value of each target.
        """
        corrected: NDArray[np.float32] = np.sort(self.shifted(quantiles, valid_time), axis=-1)
        for target, (low, high) in enumerate(limits):
            if low is not None or high is not None:
                part = corrected[:, :, target]
                np.clip(part, low, high, out=part)
        return corrected

    def shifted(self, quantiles: NDArray[np.float32], valid_time: NDArray[np.datetime64]) -> NDArray[np.float32]:
        """Return quantiles with the shift of each level: neither ordered nor within the limits.

        The arguments and the shape are those of `__call__`.
        """
        shift = self.by_lead + self.by_hour[_hours(valid_time)]
        width = quantiles[..., -1:] - quantiles[..., :1]
        return quantiles + width * shift[:, :, :, None]

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays from which `from_state` builds an equal recalibration."""
        return {"by_lead": self.by_lead, "by_hour": self.by_hour}

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Return the recalibration stored in `state`.

        Raises:
            ModelError: an array is missing, or the arrays do not fit each other.
        """
        by_lead = take(state, "by_lead")
        return cls(by_lead, take(state, "by_hour", (HOURS, *by_lead.shape[1:])))


class QuantileTracker:
    """Follows the coverage of every level, by lead and by hour of the day, pooled over locations.

    Args:
        task: what is forecast.
        horizon: leads after the issue time.
        issues_per_step: issue times per time step. Forecasts of a common time have correlated errors, so a forecast
            counts as one case divided by the root of the number of forecasts that share its valid time.
    """

    def __init__(self, task: Task, horizon: int, issues_per_step: float) -> None:
        self._levels = np.array(task.quantile_levels)
        self._limits = target_limits(task)
        self._by_day = task.step_seconds >= 86_400
        overlap = np.maximum(1, np.arange(1, horizon + 1) * issues_per_step)
        self._weight = 1 / np.sqrt(overlap)
        per_hour = max(1.0, 3600 / task.step_seconds) * max(1.0, horizon * issues_per_step)
        self._hour_weight = 1 / np.sqrt(per_hour)
        self._lead = _Shifts.of(horizon, len(task.targets), task.quantile_levels)
        self._hour = _Shifts.of(HOURS, len(task.targets), task.quantile_levels)

    def update(
        self, shifted: NDArray[np.float32], truth: NDArray[np.float32], valid_time: NDArray[np.datetime64]
    ) -> None:
        """Learn from matured forecasts.

        Each level learns from its own shifted value: ordered values would be those of other levels where shifts cross,
        as those of rain and other variables with many equal values do. A forecast of no width cannot be corrected, so
        it does not count. Nor does, at a limit of the variable, what calls for a shift beyond it: that has no effect,
        and would grow for as long as a dry spell lasts.

        Args:
            shifted: (n, lead, target, location, quantile), from `Recalibration.shifted`.
            truth: (n, lead, target, location), NaN where unknown.
            valid_time: (n, lead), UTC.
        """
        miss, count = self._misses(shifted, truth)
        seen = (count > 0).astype(np.float64)
        weight = seen * self._weight[:, None]
        self._lead.add((miss * weight[..., None]).sum(axis=0), weight.sum(axis=0))
        if not self._by_day:
            hours, weight = _hours(valid_time), seen * self._hour_weight
            misses, weights = np.zeros_like(self._hour.shift), np.zeros_like(self._hour.cases)
            np.add.at(misses, hours, miss * weight[..., None])
            np.add.at(weights, hours, weight)
            self._hour.add(misses, weights)

    def _misses(self, shifted: NDArray[np.float32], truth: NDArray[np.float32]) -> tuple[Doubles, NDArray[np.intp]]:
        """Return by how much each level misses its coverage, (n, lead, target, quantile), and the count of values."""
        known = np.isfinite(truth) & (shifted[..., 0] != shifted[..., -1])
        miss = np.where(known[..., None], self._levels - (truth[..., None] <= shifted), 0.0)
        total = np.empty((*known.shape[:3], len(self._levels)))
        for target, (low, high) in enumerate(self._limits):
            values, part = shifted[:, :, target], miss[:, :, target]
            at_low = values <= (-np.inf if low is None else low)
            at_high = values >= (np.inf if high is None else high)
            inside = part.sum(axis=2, where=~(at_low | at_high))
            up, down = part.sum(axis=2, where=at_low), part.sum(axis=2, where=at_high)
            total[:, :, target] = inside + np.maximum(up, 0) + np.minimum(down, 0)
        count = known.sum(axis=3)
        return total / np.maximum(count, 1)[..., None], count

    def recalibration(self) -> Recalibration:
        """Return the correction learnt so far."""
        return Recalibration(self._lead.shift.astype(np.float32), self._hour.shift.astype(np.float32))


@dataclass(slots=True)
class _Shifts:
    """Shifts (group, target, quantile) and the cases (group, target) that they are learnt from."""

    shift: Doubles
    cases: Doubles
    gain: Doubles
    """(quantile,), shift that moves the coverage of a Gaussian forecast by 1: the inverse of its density."""
    averaging: Doubles
    """(quantile, quantile), by which misses are multiplied for what p and 1 - p have in common; of a level without the
    other, all levels."""

    @classmethod
    def of(cls, groups: int, targets: int, levels: tuple[float, ...]) -> _Shifts:
        normal = NormalDist()
        scores = np.array([normal.inv_cdf(level) for level in levels])
        width = max(float(scores[-1] - scores[0]), 1e-6)
        gain = 1 / (width * np.array([normal.pdf(score) for score in scores]))
        mirrored = np.isclose(np.add.outer(levels, levels), 1) | np.eye(len(levels), dtype=bool)
        alone = (mirrored.sum(axis=0) == 1) & (np.array(levels) != 0.5)
        averaging = np.where(alone, 1.0, mirrored)
        averaging /= averaging.sum(axis=0)
        return cls(np.zeros((groups, targets, len(levels))), np.zeros((groups, targets)), gain, averaging)

    def add(self, misses: Doubles, weights: Doubles) -> None:
        """Take a step for a block of cases: the sum of their misses (group, target, quantile), and their weights."""
        common = misses @ self.averaging
        width, shift = (
            1 / (prior + np.minimum(self.cases, memory) + weights)[..., None]
            for prior, memory in ((_PRIOR, _MEMORY), (_SHIFT_PRIOR, _SHIFT_MEMORY))
        )
        step = self.gain * (width * (misses - common) + shift * common)
        np.clip(self.shift + step, -_LARGEST, _LARGEST, out=self.shift)
        self.cases += weights


def target_limits(task: Task) -> Limits:
    """Return the lowest and highest value of each target."""
    return [task.limits[channel] for channel in task.target_channels]


def _hours(time: NDArray[np.datetime64]) -> NDArray[np.int64]:
    hours: NDArray[np.int64] = time.astype("datetime64[h]").astype(np.int64) % HOURS
    return hours
