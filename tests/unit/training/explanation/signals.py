"""Records in which only one input carries a signal, as windows in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.task import Batch, Inputs, Task
from pipeline.training.explanation.groups import InputGroup

DAY = 86_400
STATIONS = 5


def make_task(
    channels: int = 2, covariates: int = 0, context: int = 4, stations: int = STATIONS, **changes: Any
) -> Task:
    names = ("wind", "heat", "rain")[:channels]
    fields: dict[str, Any] = {
        "channels": names,
        "targets": names[:1],
        "context": context,
        "leads": 2,
        "quantile_levels": (0.1, 0.25, 0.5, 0.75, 0.9),
        "step_seconds": DAY,
        "locations": tuple(f"s{i}" for i in range(stations)),
        "longitude": tuple(-10.0 + i for i in range(stations)),
        "latitude": tuple(51.0 + 0.5 * (i % 3) for i in range(stations)),
        "transforms": ("identity",) * channels,
        "limits": ((None, None),) * channels,
        "covariates": tuple(f"nwp.c{i}" for i in range(covariates)),
    }
    return Task(**(fields | changes))


@dataclass(frozen=True)
class Signals:
    """Windows over arrays (frame, channel, location), with covariates (frame, covariate, location)."""

    task: Task
    values: NDArray[np.float32]
    mask: NDArray[np.bool_]
    covariates: NDArray[np.float32]
    last: NDArray[np.intp]
    """Newest frame of each window."""
    horizon: int = 2

    @property
    def gaps(self) -> NDArray[np.int64]:
        return np.zeros(len(self.last), np.int64)

    def __len__(self) -> int:
        return len(self.last)

    def _frames(self, index: NDArray[np.intp], first: int, count: int) -> NDArray[np.intp]:
        return np.asarray(self.last[index][:, None] + np.arange(first, first + count))

    def inputs(self, index: NDArray[np.intp]) -> Inputs:
        past = self._frames(index, 1 - self.task.context, self.task.context)
        ahead = self._frames(index, 1, self.task.leads)
        time = (np.arange(len(self.values)) * DAY + 20_000 * DAY).astype("datetime64[s]")
        future = self.covariates[ahead] if self.task.covariates else None
        return Inputs(
            values=np.where(self.mask[past], self.values[past], np.float32(0)),
            mask=self.mask[past],
            time=time[past],
            target_time=time[ahead],
            covariates=future,
            covariates_mask=None if future is None else np.ones(future.shape, bool),
        )

    def truth(self, index: NDArray[np.intp]) -> NDArray[np.float32]:
        batch = self.batch(index)
        return np.where(batch.target_mask, batch.target, np.float32(np.nan))

    def batch(self, index: NDArray[np.intp]) -> Batch:
        ahead = self._frames(index, 1, self.task.leads)
        target, mask = self.values[ahead][:, :, :1], self.mask[ahead][:, :, :1]
        return Batch(self.inputs(index), np.where(mask, target, np.float32(0)), mask)

    def part(self, first: int, end: int) -> Signals:
        return Signals(self.task, self.values, self.mask, self.covariates, np.arange(first, end), self.horizon)


def make_signals(
    task: Task,
    *,
    station: int | None = None,
    channel: int = 0,
    lag: int = 0,
    covariate: int | None = None,
    gaps: float = 0.0,
    seed: int = 0,
    frames: int = 900,
) -> tuple[Signals, Signals, Signals]:
    """Training, validation and held-out windows of a record of noise that one input predicts.

    The first channel at every station, one frame ahead, is what `channel` was `lag` frames before the newest, at
    `station` or everywhere; or it is the covariate `covariate` of its own time. The rest is noise.
    """
    random = np.random.default_rng(seed)
    shape = (frames, len(task.channels), len(task.locations))
    values = random.normal(size=shape)
    covariates = random.normal(size=(frames, len(task.covariates), len(task.locations)))
    for frame in range(lag + 1, frames):
        if covariate is not None:
            signal = covariates[frame, covariate]
        else:
            before = values[frame - 1 - lag, channel]
            signal = before if station is None else np.full(len(task.locations), before[station])
        follows = np.arange(len(task.locations)) != (station if channel == 0 and station is not None else -1)
        values[frame, 0, follows] = (signal + 0.3 * random.normal(size=signal.shape))[follows]
    mask = random.random(shape) >= gaps
    record = Signals(task, values.astype(np.float32), mask, covariates.astype(np.float32), np.arange(0))
    cut = frames - 2
    return record.part(10, cut - 420), record.part(cut - 410, cut - 310), record.part(cut - 300, cut)


def groups_of(task: Task) -> list[InputGroup]:
    """Every group that an explanation has, without a product."""
    full, none, count = slice(None), slice(0, 0), len(task.locations)
    groups = [InputGroup("all", "input", "any input", covariates=full)]
    for index, name in enumerate(task.locations):
        groups.append(InputGroup("location", name, name, locations=np.arange(count) == index))
    for index, name in enumerate(task.channels):
        groups.append(InputGroup("variable", name, name, channels=slice(index, index + 1)))
    for lag in range(task.context):
        frame = task.context - 1 - lag
        groups.append(InputGroup("lag", str(lag), f"lag {lag}", frames=slice(frame, frame + 1)))
    for index, name in enumerate(task.covariates):
        groups.append(InputGroup("covariate", name, name, channels=none, covariates=slice(index, index + 1)))
    return groups
