"""The schedule of a training run, by steps or by time: warm-up, then a cosine."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.base import State, take

# Lead of elapsed time over steps, as fractions of the whole, beyond which the schedule follows time.
_LAG = 0.1


class TrainingLength(NamedTuple):
    """How far a network was trained.

    Attributes:
        epochs: number of epochs; 0 for the untrained network.
        position: completed fraction of the schedule, which is not that of the epochs where time was short.
    """

    epochs: int
    position: float

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays from which `from_state` makes an equal length."""
        return {"epochs": np.array([self.epochs]), "position": np.array([self.position])}

    @classmethod
    def from_state(cls, state: State, epochs: int) -> TrainingLength:
        """Return the length stored in `state`; where there is none, as in earlier versions, a whole schedule.

        Raises:
            ModelError: an array is missing or has the wrong shape.
        """
        if not state:
            return cls(epochs, 1.0)
        return cls(int(take(state, "epochs", (1,))[0]), float(take(state, "position", (1,))[0]))


@dataclass(frozen=True, slots=True)
class Schedule:
    """Progress of training: by steps, or by time where the deadline will end it sooner.

    Attributes:
        start: `time.monotonic` at the start.
        deadline: the same at which training stops, if need be before its end.
        total: number of steps.
        end: fraction of the schedule that is completed after these steps.
    """

    start: float
    deadline: float | None
    total: int
    end: float

    @property
    def step(self) -> float:
        """Fraction of the schedule in one step."""
        return self.end / self.total

    def position(self, done: int) -> float:
        """Return the completed fraction of the schedule after `done` steps."""
        completed = done / self.total
        if self.deadline is not None and done > 0:
            by_time = (time.monotonic() - self.start) / max(self.deadline - self.start, 1e-9)
            # A briefly busy machine must not change the model: only a clear lag counts.
            if by_time > completed + _LAG:
                completed = min(by_time, 1.0)
        return self.end * completed

    def expired(self) -> bool:
        """Return whether the deadline has passed."""
        return self.deadline is not None and time.monotonic() > self.deadline


def learning_rate(position: float, warmup: float, step: float) -> float:
    """Return the learning rate relative to its peak: a linear rise, then half a cosine down to 0."""
    if position < warmup:
        return (position + step) / (warmup + step)
    return 0.5 * (1 + math.cos(math.pi * (position - warmup) / max(1 - warmup, 1e-9)))
