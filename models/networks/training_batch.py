"""One batch for training or validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from models.networks.adversary import Trajectories
from models.networks.heads import Head
from models.networks.sample import Sample


class TrainingBatch(Protocol):
    """The interface between the training loop and a batch."""

    @property
    def sample(self) -> Any:
        """Input of the network."""
        ...

    def loss(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted sum of losses and the sum of weights."""
        ...

    def trajectories(self, outputs: Tensor) -> Trajectories:
        """Return truth and forecast; called only in adversarial training."""
        ...


@dataclass(frozen=True, slots=True)
class SupervisedBatch:
    """A batch with its truth.

    Attributes:
        head: turns outputs of the network into a forecast.
        sample: inputs of n issue times.
        truth: (n, lead, target, location), any finite number where unknown.
        known: same shape, 1 where known, else 0.
        weight: weight of each value in the loss; broadcasts to the shape of the truth.
    """

    head: Head
    sample: Sample
    truth: Tensor
    known: Tensor
    weight: Tensor

    def loss(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted sum of the head's losses over known values, and the sum of weights."""
        weight = self.known * self.weight
        return (self.head.loss(outputs, self.truth, self.sample) * weight).sum(), weight.sum()

    def trajectories(self, outputs: Tensor) -> Trajectories:
        """Return the truth and the median of the forecast."""
        median = self.head.median(outputs, self.sample)
        return Trajectories(self.truth, self.known, median, self.sample.base[..., self.head.middle])
