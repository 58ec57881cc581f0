"""Covariates as anomalies of their own climate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.base import State
from models.statistics.climate import Climate, fit_climate
from models.statistics.series import Series, batches
from models.task import Inputs, Task, Windows

_MOST_WINDOWS = 4000


class Covariates:
    """Standardises covariates by the climate of their own forecasts at each location.

    Args:
        task: the task whose covariates these are.
    """

    def __init__(self, task: Task) -> None:
        self._task, self._climate = task, None if not task.covariates else _unknown(_as_channels(task))

    def fit(self, train: Windows) -> None:
        """Fit the climate to the covariates of the training windows."""
        if self._climate is not None:
            self._climate = fit_climate(_as_channels(self._task), _series(train), None)

    def __call__(self, inputs: Inputs) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return standardised covariates (n, lead, covariate, location), 0 where unknown, and their mask."""
        values, mask = inputs.future_covariates(self._task)
        if self._climate is None:
            return values, mask
        mask = mask & np.isfinite(values)
        return self._climate.standardise(inputs.target_time, np.where(mask, values, np.float32(0)), mask), mask

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays for `load_state`."""
        return {} if self._climate is None else self._climate.state()

    def load_state(self, state: State) -> None:
        """Load a state.

        Raises:
            ModelError: an array is missing or does not fit the task.
        """
        if self._climate is not None:
            self._climate = Climate.from_state(_as_channels(self._task), state)


def _as_channels(task: Task) -> Task:
    """Return a task whose channels are the covariates, for fitting their climate."""
    count = len(task.covariates)
    return replace(
        task,
        channels=task.covariates,
        targets=task.covariates,
        transforms=("identity",) * count,
        limits=((None, None),) * count,
    )


def _unknown(task: Task) -> Climate:
    time = np.array(["2000-01-01"], "datetime64[s]")
    shape = (1, len(task.channels), len(task.locations))
    return fit_climate(task, Series(time, np.zeros(shape, np.float32), np.zeros(shape, bool)), None)


def _series(windows: Windows) -> Series:
    """Return covariates by target time; the first and the last lead are enough for a climate."""
    task = windows.task
    parts = []
    for batch in batches(windows, most=_MOST_WINDOWS):
        values, mask = batch.inputs.future_covariates(task)
        first = (batch.inputs.target_time[:, 0], values[:, 0], mask[:, 0] & np.isfinite(values[:, 0]))
        last = (batch.inputs.target_time[:, -1], values[:, -1], mask[:, -1] & np.isfinite(values[:, -1]))
        parts += [first, last] if task.leads > 1 else [first]
    time, values, mask = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(time, kind="stable")
    return Series(time[order], np.where(mask, values, np.float32(0))[order], mask[order])
