"""Windows: for each issue time, the frames known then and the observations that verify its forecast."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from models.task import Batch, Inputs, Task
from pipeline.config import Product
from pipeline.features.arrays import Bool, Float, Frames
from pipeline.features.asof import windows_as_of
from pipeline.features.covariates import FutureCovariates, covariate_names
from pipeline.locations import Locations
from pipeline.steps import mean_length, shift
from pipeline.times import Cadence, as_numpy


def make_task(product: Product, cadence: Cadence, locations: Locations) -> Task:
    """Return the forecasting task of a product, which models are built for."""
    variables, step = [product.feed.variable(name) for name in product.feed.variables], product.feed.step
    return Task(
        channels=tuple(product.feed.variables),
        targets=product.forecast.targets,
        context=product.forecast.context,
        leads=cadence.leads,
        quantile_levels=product.forecast.quantiles,
        step_seconds=int(mean_length(step).total_seconds()),
        locations=locations.ids,
        longitude=locations.longitude,
        latitude=locations.latitude,
        transforms=tuple(variable.transform for variable in variables),
        limits=tuple(variable.limits for variable in variables),
        grid=locations.shape,
        covariates=covariate_names(product),
        static=locations.static,
        static_values=locations.static_values,
        calendar=None if isinstance(step, timedelta) else step,
    )


class IssueWindows:
    """Windows of a list of issue times, read lazily in batches; models train on them.

    Inputs, with the future covariates, are as known at each issue time; targets are as known at `truth_at`. Only what
    a batch needs is read, so memory does not grow with the history.
    """

    def __init__(
        self,
        task: Task,
        cadence: Cadence,
        frames: Frames,
        issues: Sequence[datetime],
        *,
        truth_at: datetime,
        covariates: FutureCovariates | None = None,
    ) -> None:
        self._task, self._frames, self._covariates, self._cadence = task, frames, covariates, cadence
        self.horizon = cadence.horizon
        self.issues = tuple(issues)
        self.gaps = np.array([cadence.gap(issue) for issue in self.issues], np.int64)
        self._last = np.array([frames.index(cadence.origin(issue)) for issue in self.issues], np.int64)
        self._known_by = np.array([as_numpy(issue) for issue in self.issues], "datetime64[us]").astype(np.int64)
        self._truth_at = as_numpy(truth_at).astype(np.int64)
        first = int(self._last.min(initial=0)) - task.context + 1
        frame = np.arange(first, int(self._last.max(initial=0)) + task.leads + 1)
        self._times = shift(frames.times[0], frame, frames.step).astype("datetime64[s]")
        self._position = self._last - first
        """Position of the newest frame of each window in `_times`."""

    @property
    def task(self) -> Task:
        """The task that every window belongs to."""
        return self._task

    def __len__(self) -> int:
        return len(self.issues)

    def lead_times(self, index: NDArray[np.intp]) -> NDArray[np.datetime64]:
        """Return the valid times of the forecasts of the issue times `index`: (n, lead), those after the issue time."""
        times = [[as_numpy(time) for time in self._cadence.lead_times(self.issues[number])] for number in index]
        return np.array(times, "datetime64[us]").reshape(len(times), self.horizon)

    def inputs(self, index: NDArray[np.intp]) -> Inputs:
        """Return the inputs known at the issue times `index`."""
        last, context = self._last[index], self._task.context
        values, mask = windows_as_of(self._frames, last, self._known_by[index], context)
        newest = self._position[index][:, None]
        target_time = self._times[newest + np.arange(1, self._task.leads + 1)]
        future, future_mask = None, None
        if self._covariates:
            issues = self._known_by[index].view("datetime64[us]")
            future, future_mask = self._covariates.values_and_mask(issues, target_time)
        return Inputs(
            values=values,
            mask=mask,
            time=self._times[newest + np.arange(1 - context, 1)],
            target_time=target_time,
            covariates=future,
            covariates_mask=future_mask,
        )

    def truth(self, index: NDArray[np.intp]) -> Float:
        """Return the observed targets of the issue times `index`: (n, lead, target, location), NaN where unknown."""
        target, mask = self._targets(index)
        return np.where(mask, target, np.float32(np.nan))

    def batch(self, index: NDArray[np.intp]) -> Batch:
        """Return inputs and targets of the issue times `index`."""
        return Batch(self.inputs(index), *self._targets(index))

    def _targets(self, index: NDArray[np.intp]) -> tuple[Float, Bool]:
        task, last = self._task, self._last[index] + self._task.leads
        known_by = np.full(len(last), self._truth_at)
        return windows_as_of(self._frames, last, known_by, task.leads, channels=task.target_channels)
