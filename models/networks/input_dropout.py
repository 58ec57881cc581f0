"""Random loss of inputs in training, so that the network learns to forecast through real outages."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.task import Inputs, Task

# Share of the affected batches that lose their covariates too.
_COVARIATES = 0.5


@dataclass(frozen=True, slots=True)
class InputDropout:
    """Hides locations, the latest frame or covariates from whole batches.

    Draws depend on location ids and not on their order: permuted locations lose the same inputs.

    Attributes:
        rate: probability that a batch is affected.
        rank: (location,), position of each location when sorted by id.
    """

    rate: float
    rank: NDArray[np.intp]

    @classmethod
    def of(cls, task: Task, rate: float) -> InputDropout:
        """Return the input dropout for the locations of `task`."""
        return cls(rate, np.argsort(np.argsort(np.array(task.locations))))

    def __call__(self, inputs: Inputs, rng: np.random.Generator) -> Inputs:
        """Return the inputs with some values hidden, or as they are; the given arrays are not changed."""
        chance, kind, depth = rng.random(3)
        draws = rng.random(len(self.rank))[self.rank]
        if chance >= self.rate:
            return inputs
        if inputs.covariates is not None and depth < _COVARIATES:
            inputs = replace(inputs, covariates=None, covariates_mask=None)
        mask = inputs.mask.copy()
        if kind < 0.5:
            # At least one location is hidden; the others with a probability that varies from batch to batch.
            mask[..., draws <= max(float(draws.min()), 0.5 * depth)] = False
        elif kind < 0.75:
            mask[:, -1] = False
        else:
            mask[:, -1, :, draws < 0.5] = False
        return replace(inputs, mask=mask, values=np.where(mask, inputs.values, np.float32(0.0)))
