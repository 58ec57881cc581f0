"""Made-up outages for training, so that the real ones hold no surprise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.task import Inputs, Task

# Of the batches that suffer an outage, the share that does without covariates too.
_COVARIATES = 0.5


@dataclass(frozen=True, slots=True)
class Outages:
    """Hides sensors, the latest frame, or what was said ahead, of a whole batch at a time.

    Draws follow location ids, not their order, so permuted locations suffer the same outages.

    Attributes:
        share: of batches that suffer one.
        rank: (location,), place of each location in the order of ids.
    """

    share: float
    rank: NDArray[np.intp]

    @classmethod
    def of(cls, task: Task, share: float) -> Outages:
        """Outages of the locations of `task`."""
        return cls(share, np.argsort(np.argsort(np.array(task.locations))))

    def __call__(self, inputs: Inputs, rng: np.random.Generator) -> Inputs:
        """The inputs, as known during an outage or untouched; the given arrays stay as they are."""
        chance, kind, depth = rng.random(3)
        draws = rng.random(len(self.rank))[self.rank]
        if chance >= self.share:
            return inputs
        if inputs.covariates is not None and depth < _COVARIATES:
            inputs = replace(inputs, covariates=None, covariates_mask=None)
        mask = inputs.mask.copy()
        if kind < 0.5:
            # One location is always down; the others with a chance that differs from batch to batch.
            mask[..., draws <= max(float(draws.min()), 0.5 * depth)] = False
        elif kind < 0.75:
            mask[:, -1] = False
        else:
            mask[:, -1, :, draws < 0.5] = False
        return replace(inputs, mask=mask, values=np.where(mask, inputs.values, np.float32(0.0)))
