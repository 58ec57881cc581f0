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

    def __call__(
        self, quantiles: NDArray[np.float32], valid_time: NDArray[np.datetime64], limits: Limits
    ) -> NDArray[np.float32]:
        """Return corrected quantiles, ordered and within the limits.

        Args:
            quantiles: (n, lead, target, location, quantile), ordered.
            valid_time: (n, lead), UTC.
            limits: lowest and highest value of each target.
        """
        shift = self.by_lead + self.by_hour[_hours(valid_time)]
        width = quantiles[..., -1:] - quantiles[..., :1]
        corrected: NDArray[np.float32] = np.sort(quantiles + width * shift[:, :, :, None], axis=-1)
        for target, (low, high) in enumerate(limits):
            if low is not None or high is not None:
                part = corrected[:, :, target]
                np.clip(part, low, high, out=part)
        return corrected

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
        per_hour = max(1.0, 3600 / task.step_seconds * horizon * issues_per_step)
        self._hour_weight = 1 / np.sqrt(per_hour)
        self._lead = _Shifts.of(horizon, len(task.targets), task.quantile_levels)
        self._hour = _Shifts.of(HOURS, len(task.targets), task.quantile_levels)

    def update(
        self, quantiles: NDArray[np.float32], truth: NDArray[np.float32], valid_time: NDArray[np.datetime64]
    ) -> None:
        """Learn from forecasts as they were corrected.

        Args:
            quantiles: (n, lead, target, location, quantile).
            truth: (n, lead, target, location), NaN where unknown.
            valid_time: (n, lead), UTC.
        """
        known = np.isfinite(truth)
        miss = np.where(known[..., None], self._levels - (truth[..., None] <= quantiles), 0.0)
        # At a limit of the variable a shift has no effect, so it must not grow there without bound.
        for target, (low, high) in enumerate(self._limits):
            values, part = quantiles[:, :, target], miss[:, :, target]
            part[(values <= (-np.inf if low is None else low)) | (values >= (np.inf if high is None else high))] = 0
        count = known.sum(axis=3)
        miss = miss.sum(axis=3) / np.maximum(count, 1)[..., None]
        seen = (count > 0).astype(np.float64)
        weight = seen * self._weight[:, None]
        self._lead.add((miss * weight[..., None]).sum(axis=0), weight.sum(axis=0))
        if not self._by_day:
            hours, weight = _hours(valid_time), seen * self._hour_weight
            misses, weights = np.zeros_like(self._hour.shift), np.zeros_like(self._hour.cases)
            np.add.at(misses, hours, miss * weight[..., None])
            np.add.at(weights, hours, weight)
            self._hour.add(misses, weights)

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
    partner: NDArray[np.intp]
    """(quantile,), position of the level 1 - p, where there is one; else that of the level itself."""

    @classmethod
    def of(cls, groups: int, targets: int, levels: tuple[float, ...]) -> _Shifts:
        normal = NormalDist()
        scores = np.array([normal.inv_cdf(level) for level in levels])
        width = max(float(scores[-1] - scores[0]), 1e-6)
        gain = 1 / (width * np.array([normal.pdf(score) for score in scores]))
        mirrored = np.isclose(1 - np.array(levels)[:, None], np.array(levels))
        partner = np.where(mirrored.any(axis=1), mirrored.argmax(axis=1), np.arange(len(levels)))
        return cls(np.zeros((groups, targets, len(levels))), np.zeros((groups, targets)), gain, partner)

    def add(self, misses: Doubles, weights: Doubles) -> None:
        """Take a step for a block of cases: the sum of their misses (group, target, quantile), and their weights."""
        common = (misses + misses[..., self.partner]) / 2
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
