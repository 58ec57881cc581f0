"""Batches of windows for a network: shuffled and perturbed for training, in order of time for validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.networks.heads import Head
from models.networks.input_dropout import InputDropout
from models.networks.sample_builder import SampleBuilder
from models.networks.training_batch import SupervisedBatch
from models.networks.training_config import TrainingConfig
from models.task import Inputs, Task, Windows

_MAX_VALIDATION = 2048
# Forecast values in memory at a time, so that memory depends neither on the issue times nor on the size of a grid.
_MAX_VALUES = 24_000_000
# Default batch size, and the maximum of windows times leads times locations in a batch.
_DEFAULT_BATCH = 64
_MAX_BATCH_CELLS = 131_072

Index = NDArray[np.intp]


class WindowBatches:
    """Makes batches of windows.

    Args:
        task: what to forecast.
        builder: makes a batch of tensors.
        head: computes the loss of a batch; only its parameters differ from network to network.
        config: batch size and input dropout.
    """

    def __init__(self, task: Task, builder: SampleBuilder, head: Head, config: TrainingConfig) -> None:
        self._task, self._builder, self._head = task, builder, head
        cells = task.leads * len(task.locations)
        self._size = config.batch or max(4, min(_DEFAULT_BATCH, _MAX_BATCH_CELLS // cells))
        self._forecast_values = cells * len(task.targets) * len(task.quantile_levels)
        self._input_dropout = InputDropout.of(task, config.input_dropout)

    @property
    def chunk(self) -> int:
        """Number of issue times to forecast at a time."""
        return max(1, min(256, _MAX_VALUES // self._forecast_values))

    def training(
        self, windows: Windows, index: Index, rng: np.random.Generator
    ) -> tuple[Callable[[], Iterator[SupervisedBatch]], int]:
        """Return what makes the batches of one epoch, shuffled and perturbed anew at each call, and their number."""

        def batches() -> Iterator[SupervisedBatch]:
            for part in _split(rng.permutation(index), self._size):
                batch = windows.batch(part)
                hidden = replace(batch, inputs=self._input_dropout(batch.inputs, rng))
                yield self._builder.supervised(self._head, hidden)

        return batches, -(-len(index) // self._size)

    def validation(self, windows: Windows, index: Index) -> tuple[list[SupervisedBatch], NDArray[np.int64]]:
        """Return batches of at most 2048 windows, evenly spread, and the number of each one's last context frame."""
        most = max(1, min(_MAX_VALIDATION, _MAX_VALUES // self._forecast_values))
        if len(index) > most:
            index = index[np.linspace(0, len(index) - 1, most).astype(np.intp)]
        batches, origins = [], np.empty(0, np.int64)
        for part in _split(index, 4 * self._size):
            batch = windows.batch(part)
            batches.append(self._builder.supervised(self._head, batch))
            origins = np.append(origins, _origins(self._task, batch.inputs))
        return batches, origins


def divide(task: Task, train: Windows, validation: Windows) -> tuple[Index, Windows, Index]:
    """Return the windows to train on, and those to validate on: the last tenth of `train` where there are no others."""
    index = np.arange(len(train), dtype=np.intp)
    if len(validation):
        return index, validation, np.arange(len(validation), dtype=np.intp)
    cut = len(train) - max(1, len(train) // 10)
    return index[: max(1, cut - task.context - task.leads)], train, index[cut:]


def _origins(task: Task, inputs: Inputs) -> NDArray[np.int64]:
    """Return the number of the last context frame of each issue."""
    return task.frame_numbers(inputs.time[:, -1])


def _split(index: Index, size: int) -> Iterator[Index]:
    for start in range(0, len(index), size):
        yield index[start : start + size]
