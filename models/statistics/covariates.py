"""Covariates as anomalies of their own climate, so that a model sees how unusual they are."""

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
    """The climate of every covariate at every location, as its own forecasts tell it.

    Args:
        task: what is forecast.
    """

    def __init__(self, task: Task) -> None:
        self._task, self._climate = task, None if not task.covariates else _unknown(_as_channels(task))

    def fit(self, train: Windows) -> None:
        """Learn from what was said at the issue times of the training windows."""
        if self._climate is not None:
            self._climate = fit_climate(_as_channels(self._task), _told(train), None)

    def __call__(self, inputs: Inputs) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Standardised covariates (n, lead, covariate, location), 0 where nothing was said, and where it was."""
        values, said = inputs.ahead(self._task)
        if self._climate is None:
            return values, said
        said = said & np.isfinite(values)
        return self._climate.standardise(inputs.target_time, np.where(said, values, np.float32(0)), said), said

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Arrays that `load_state` takes."""
        return {} if self._climate is None else self._climate.state()

    def load_state(self, state: State) -> None:
        """Take over a state.

        Raises:
            ModelError: an array is missing or does not fit the task.
        """
        if self._climate is not None:
            self._climate = Climate.from_state(_as_channels(self._task), state)


def _as_channels(task: Task) -> Task:
    """The task of which the covariates are the variables: what their climate is fitted to."""
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


def _told(windows: Windows) -> Series:
    """One value for each target time: of what several issue times say of it, any will do for a climate."""
    task = windows.task
    parts = []
    for batch in batches(windows, most=_MOST_WINDOWS):
        values, said = batch.inputs.ahead(task)
        first = (batch.inputs.target_time[:, 0], values[:, 0], said[:, 0] & np.isfinite(values[:, 0]))
        last = (batch.inputs.target_time[:, -1], values[:, -1], said[:, -1] & np.isfinite(values[:, -1]))
        parts += [first, last] if task.leads > 1 else [first]
    time, values, said = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(time, kind="stable")
    return Series(time[order], np.where(said, values, np.float32(0))[order], said[order])
