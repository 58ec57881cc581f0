"""Windows: for each issue time, the frames that were known then and, where they are known by now, the true ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from models.task import Batch, Inputs, Task
from pipeline.config import Product
from pipeline.features.arrays import Bool, Float, Frames
from pipeline.features.asof import windows_as_of
from pipeline.features.covariates import FutureCovariates, covariate_names
from pipeline.locations import Locations
from pipeline.times import Cadence, as_numpy


def make_task(product: Product, cadence: Cadence, locations: Locations) -> Task:
    """Return what a model must know of a product besides its data."""
    known = [product.feed.variable(name) for name in product.feed.variables]
    return Task(
        channels=tuple(product.feed.variables),
        targets=product.forecast.targets,
        context=product.forecast.context,
        leads=cadence.leads,
        quantiles=product.forecast.quantiles,
        step_seconds=int(product.feed.step.total_seconds()),
        locations=locations.ids,
        longitude=locations.longitude,
        latitude=locations.latitude,
        transforms=tuple(transform for _, _, transform, _ in known),
        limits=tuple(limits for _, limits, _, _ in known),
        grid=locations.shape,
        covariates=covariate_names(product),
        static=locations.static,
        static_values=locations.static_values,
    )


class IssueWindows:
    """Windows of a list of issue times, cut lazily in batches; it is what models train on.

    Inputs are as known at each issue time, what covariates had said of the times to come among them. Targets are as
    known at `truth_at`. Only what a batch needs is read, so memory does not grow with the history.
    """

    def __init__(
        self,
        task: Task,
        cadence: Cadence,
        frames: Frames,
        issues: Sequence[datetime],
        *,
        truth_at: datetime,
        ahead: FutureCovariates | None = None,
    ) -> None:
        self._task, self._frames, self._told = task, frames, ahead
        self.horizon = cadence.horizon
        self.issues = tuple(issues)
        self.gaps = np.array([cadence.gap(issue) for issue in self.issues], np.int64)
        self._last = np.array([frames.index(cadence.origin(issue)) for issue in self.issues], np.int64)
        self._known_by = np.array([as_numpy(issue) for issue in self.issues], "datetime64[us]").astype(np.int64)
        self._truth_at = as_numpy(truth_at).astype(np.int64)
        first, step = frames.times[0].astype("datetime64[s]").astype(np.int64), task.step_seconds
        self._seconds = first + self._last * step
        self._past, self._ahead = (np.arange(1 - task.context, 1) * step, np.arange(1, task.leads + 1) * step)

    @property
    def task(self) -> Task:
        """What is to be forecast."""
        return self._task

    def __len__(self) -> int:
        return len(self.issues)

    def inputs(self, index: NDArray[np.intp]) -> Inputs:
        """Return what was known at the issue times `index`."""
        last, context = self._last[index], self._task.context
        values, mask = windows_as_of(self._frames, last, self._known_by[index], context)
        seconds = self._seconds[index][:, None]
        target_time = (seconds + self._ahead).view("datetime64[s]")
        told, said = None, None
        if self._told:
            told, said = self._told.at(self._known_by[index].view("datetime64[us]"), target_time)
        return Inputs(
            values=values,
            mask=mask,
            time=(seconds + self._past).view("datetime64[s]"),
            target_time=target_time,
            covariates=told,
            covariates_mask=said,
        )

    def truth(self, index: NDArray[np.intp]) -> Float:
        """Return what came true after the issue times `index`: (n, lead, target, location), NaN where unknown."""
        target, mask = self._targets(index)
        return np.where(mask, target, np.float32(np.nan))

    def batch(self, index: NDArray[np.intp]) -> Batch:
        """Return inputs and targets of the issue times `index`."""
        return Batch(self.inputs(index), *self._targets(index))

    def _targets(self, index: NDArray[np.intp]) -> tuple[Float, Bool]:
        task, last = self._task, self._last[index] + self._task.leads
        known_by = np.full(len(last), self._truth_at)
        return windows_as_of(self._frames, last, known_by, task.leads, channels=task.target_channels)
