"""One batch to learn from, or to be judged by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from models.networks.adversary import Trajectories
from models.networks.heads import Head
from models.networks.sample import Sample


class Lesson(Protocol):
    """What the trainer asks of a batch."""

    @property
    def sample(self) -> Any:
        """What the network is called with."""
        ...

    def loss(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Sum of the losses of what the network made of it, and of the weights of the values behind it."""
        ...

    def trajectories(self, outputs: Tensor) -> Trajectories:
        """Truth and forecast; asked for only where training is adversarial."""
        ...


@dataclass(frozen=True, slots=True)
class Supervised:
    """A lesson whose truth is known, in part.

    Attributes:
        head: reads the outputs.
        sample: what the network sees of n issue times.
        truth: (n, lead, target, location), any finite number where unknown.
        known: same shape, 1 where known, else 0.
        weight: of each value in the loss; any shape that broadcasts to that of the truth.
    """

    head: Head
    sample: Sample
    truth: Tensor
    known: Tensor
    weight: Tensor

    def loss(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Sum of the head's losses over what is known, and of its weights."""
        weight = self.known * self.weight
        return (self.head.loss(outputs, self.truth, self.sample) * weight).sum(), weight.sum()

    def trajectories(self, outputs: Tensor) -> Trajectories:
        """Truth and the median of the forecast."""
        median = self.head.median(outputs, self.sample)
        return Trajectories(self.truth, self.known, median, self.sample.base[..., self.head.middle])
