"""Windows: for each issue time, the frames that were known then and, where they are known by now, the true ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from models.task import Batch, Inputs, Task
from pipeline.config import Product
from pipeline.features.asof import as_of, windows_as_of
from pipeline.features.frames import Float, Frames
from pipeline.locations import Locations
from pipeline.times import Cadence, as_numpy


def make_task(product: Product, locations: Locations) -> Task:
    """Return what a model must know of a product besides its data."""
    cadence = Cadence.of(product)
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
    )


class IssueWindows:
    """Windows of a list of issue times, cut lazily in batches; it is what models train on.

    Inputs are as known at each issue time. Targets are as known at `truth_at`.
    """

    def __init__(
        self, task: Task, cadence: Cadence, frames: Frames, issues: Sequence[datetime], *, truth_at: datetime
    ) -> None:
        self._task, self._frames = task, frames
        self.horizon = cadence.horizon
        self.issues = tuple(issues)
        self.gaps = np.array([cadence.gap(issue) for issue in self.issues], np.int64)
        self._last = np.array([frames.index(cadence.origin(issue)) for issue in self.issues], np.int64)
        self._known_by = np.array([as_numpy(issue) for issue in self.issues], "datetime64[us]").astype(np.int64)
        channels = [task.channels.index(target) for target in task.targets]
        self._truth = as_of(frames, truth_at)[:, channels]

    @property
    def task(self) -> Task:
        """What is to be forecast."""
        return self._task

    def __len__(self) -> int:
        return len(self.issues)

    def inputs(self, index: NDArray[np.intp]) -> Inputs:
        """Return what was known at the issue times `index`."""
        task, frames = self._task, self._frames
        values = windows_as_of(frames, self._last[index], self._known_by[index], task.context)
        mask = np.isfinite(values)
        return Inputs(
            values=np.where(mask, values, np.float32(0)),
            mask=mask,
            time=self._times(self._last[index], range(1 - task.context, 1)),
            target_time=self._times(self._last[index], range(1, task.leads + 1)),
        )

    def truth(self, index: NDArray[np.intp]) -> Float:
        """Return what came true after the issue times `index`: (n, lead, target, location), NaN where unknown."""
        after = self._last[index][:, None] + np.arange(1, self._task.leads + 1)
        inside = (after >= 0) & (after < len(self._truth))
        truth = self._truth[np.where(inside, after, 0)]
        return np.where(inside[..., None, None], truth, np.float32(np.nan))

    def batch(self, index: NDArray[np.intp]) -> Batch:
        """Return inputs and targets of the issue times `index`."""
        truth = self.truth(index)
        mask = np.isfinite(truth)
        return Batch(self.inputs(index), np.where(mask, truth, np.float32(0)), mask)

    def _times(self, last: NDArray[np.int64], offsets: range) -> NDArray[np.datetime64]:
        position = last[:, None] + np.array(offsets)
        times = self._frames.times[0] + position * np.timedelta64(self._frames.step)
        seconds: NDArray[np.datetime64] = times.astype("datetime64[s]")
        return seconds
