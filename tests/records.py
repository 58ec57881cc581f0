"""Windows over arrays in memory: what a model is fitted on where no store is needed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.task import Batch, Inputs, Task


@dataclass(frozen=True)
class Record:
    """Windows over a record (frame, channel, location), one for each frame of `issues`."""

    task: Task
    time: NDArray[Any]
    values: NDArray[Any]
    mask: NDArray[Any]
    issues: NDArray[Any]

    def __len__(self) -> int:
        return len(self.issues)

    def batch(self, index: NDArray[np.intp]) -> Batch:
        issue = self.issues[index]
        past = issue[:, None] + np.arange(1 - self.task.context, 1)
        ahead = issue[:, None] + np.arange(1, self.task.leads + 1)
        targets = list(self.task.target_channels)
        values = [np.where(self.mask[rows], self.values[rows], np.float32(0.0)) for rows in (past, ahead)]
        inputs = Inputs(values[0], self.mask[past], self.time[past], self.time[ahead])
        return Batch(inputs, values[1][:, :, targets], self.mask[ahead][:, :, targets])

    def all(self) -> Batch:
        return self.batch(np.arange(len(self), dtype=np.intp))

    def permuted(self, order: NDArray[np.intp]) -> Record:
        task = replace(
            self.task,
            locations=tuple(self.task.locations[i] for i in order),
            longitude=tuple(self.task.longitude[i] for i in order),
            latitude=tuple(self.task.latitude[i] for i in order),
        )
        return replace(self, task=task, values=self.values[..., order], mask=self.mask[..., order])
