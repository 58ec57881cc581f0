"""Climatology: mean and spread of each location and channel for the time of year, day and week."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.base import State, take
from models.statistics.calendar import YEAR_SECONDS, Basis, candidates
from models.statistics.series import Series
from models.task import Task

# Mean absolute deviation of a Gaussian, inverted.
_ABS_TO_SD = 1.2533
# Standardised values beyond this are sensor faults rather than weather.
_LARGEST = 12.0
# Prior weight, in frames, of the coefficients of all locations against those of one.
_POOLING = 2.0


@dataclass(frozen=True, slots=True)
class Climate:
    """Mean and spread of every channel and location at any time, of transformed values.

    A location without data gets the pooled coefficients of all others, so means are always finite and spreads
    positive.

    Attributes:
        basis: the calendar regressors.
        mean: (regressor, channel, location), coefficients of the mean.
        spread: same shape, coefficients of the standard deviation.
        floor: (channel, location), minimum of the standard deviation.
    """

    basis: Basis
    mean: NDArray[np.float32]
    spread: NDArray[np.float32]
    floor: NDArray[np.float32]

    def at(self, time: NDArray[np.datetime64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and spread, each (..., channel, location), at times (...)."""
        moments, inverse = np.unique(time, return_inverse=True)
        rows = self.basis(moments)
        mean = np.tensordot(rows, self.mean, axes=1)
        spread = np.maximum(np.tensordot(rows, self.spread, axes=1), self.floor)
        index = inverse.reshape(time.shape)
        return mean[index], spread[index]

    def standardise(
        self, time: NDArray[np.datetime64], values: NDArray[np.float32], mask: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Return anomalies in units of the spread, of values (..., channel, location); 0 where missing."""
        mean, spread = self.at(time)
        anomaly = np.clip((values - mean) / spread, -_LARGEST, _LARGEST)
        return np.where(mask, anomaly, np.float32(0.0))

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays from which `from_state` builds an equal climate."""
        sizes = np.array([self.basis.annual, self.basis.daily, self.basis.weekly], np.int64)
        return {"basis": sizes, "mean": self.mean, "spread": self.spread, "floor": self.floor}

    @classmethod
    def from_state(cls, task: Task, state: State) -> Climate:
        """Return the climate stored in `state`.

        Raises:
            ModelError: an array is missing or does not fit the task.
        """
        annual, daily, weekly = (int(size) for size in take(state, "basis", (3,)))
        basis = Basis(annual, daily, bool(weekly))
        series = (len(task.channels), len(task.locations))
        shape = (basis.size, *series)
        mean, spread = take(state, "mean", shape), take(state, "spread", shape)
        return cls(basis, mean, spread, take(state, "floor", series))


def fit_climate(task: Task, train: Series, validation: Series | None) -> Climate:
    """Fit a climate by least squares; where the record supports two bases, validation chooses."""
    most = round(YEAR_SECONDS / task.step_seconds) // 2 if task.calendar else 3  # two for quarters
    options = candidates(train.days, task.step_seconds, most)
    if len(options) == 1:
        return refit_climate(options[0], train)
    if validation is None:
        return refit_climate(options[-1] if train.days >= 56 else options[0], train)
    fitted = [refit_climate(basis, train) for basis in options]
    return min(fitted, key=lambda climate: _squared_error(climate, validation))


def _squared_error(climate: Climate, series: Series) -> float:
    mean, _ = climate.at(series.time)
    return float(np.square(mean - series.values, where=series.mask, out=np.zeros_like(mean)).sum())


def refit_climate(basis: Basis, series: Series) -> Climate:
    """Fit a climate of this basis by least squares."""
    frames, *shape = series.values.shape
    rows = basis(series.time)
    values = series.values.reshape(frames, -1)
    known = series.mask.reshape(frames, -1)
    channels = np.arange(shape[0]).repeat(shape[1])
    mean = _regress(rows, values, known, channels)
    error = np.where(known, values - rows @ mean, 0.0)
    spread = _regress(rows, np.abs(error) * _ABS_TO_SD, known, channels)

    square, count = np.square(error).sum(0).reshape(shape), known.sum(0).reshape(shape)
    pooled = square.sum(1, keepdims=True) / np.maximum(count.sum(1, keepdims=True), 1)
    overall = np.sqrt((square + _POOLING * pooled) / (count + _POOLING))
    floor = np.where(overall > 1e-6, 0.25 * overall, 1.0)
    return Climate(
        basis,
        mean.reshape(basis.size, *shape).astype(np.float32),
        spread.reshape(basis.size, *shape).astype(np.float32),
        floor.astype(np.float32),
    )


def _regress(
    rows: NDArray[np.float32],
    values: NDArray[np.floating],
    known: NDArray[np.bool_],
    groups: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Return coefficients (regressor, column), each column shrunk slightly towards the fit to its whole group."""
    x = rows.astype(np.float64)
    size = x.shape[1]
    penalty = np.eye(size)
    penalty[0, 0] = 1e-6
    out = np.zeros((size, values.shape[1]))
    moments = x.T @ np.where(known, values, 0.0)
    complete = x.T @ x
    for group in np.unique(groups):
        columns = np.flatnonzero(groups == group)
        total = (x * known[:, columns].sum(1)[:, None]).T @ x + penalty
        pooled = np.linalg.solve(total, moments[:, columns].sum(1))
        # Columns with the same gaps share one factorisation.
        gaps = np.packbits(known[:, columns].T, axis=1)
        if (gaps == gaps[0]).all():
            first, member = np.zeros(1, np.intp), np.zeros(len(columns), np.intp)
        else:
            _, first, member = np.unique(gaps, axis=0, return_index=True, return_inverse=True)
        for pattern, example in enumerate(first):
            own, there = columns[member.reshape(-1) == pattern], known[:, columns[example]]
            # Add up whichever frames are fewer, the missing or the known ones.
            mostly = 2 * there.sum() > len(there)
            few = x[there != mostly]
            gram = complete - few.T @ few if mostly else few.T @ few
            excess = moments[:, own] - (gram @ pooled)[:, None]
            out[:, own] = pooled[:, None] + np.linalg.solve(gram + _POOLING * penalty, excess)
    return out
