"""What all implementations of the ConvLSTM benchmark share: the sizes, the weights, the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class AbsentError(Exception):
    """This machine cannot run an implementation as it is meant to run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A stack of ConvLSTM layers on square fields, and what it runs on."""

    size: int = 32
    batch: int = 8
    steps: int = 10
    layers: int = 2
    inputs: int = 64
    hidden: int = 64
    kernel: int = 3
    device: str = "cpu"
    threads: int = 2

    def weights(self) -> list[Layer]:
        """The same weights for all, forget bias 1."""
        random, layers = np.random.default_rng(0), []
        for number in range(self.layers):
            width = self.hidden + (self.hidden if number else self.inputs)
            shape = (4, self.hidden, width, self.kernel, self.kernel)
            weight = random.standard_normal(shape, np.float32) / np.float32(width * self.kernel**2) ** 0.5
            bias = random.standard_normal((4, self.hidden), np.float32) / np.float32(10)
            bias[1] += 1
            layers.append(Layer(weight, bias))
        return layers

    def data(self) -> tuple[Array, Array]:
        """Input and truth, (step, batch, channel, row, column)."""
        random = np.random.default_rng(1)
        shape = (self.steps, self.batch, self.inputs, self.size, self.size)
        truth = (self.steps, self.batch, self.hidden, self.size, self.size)
        return random.standard_normal(shape, np.float32), random.standard_normal(truth, np.float32)


class Layer(NamedTuple):
    """Weight (gate, hidden, inputs + hidden, kernel, kernel), bias (gate, hidden): input, forget, output, candidate."""

    weight: Array
    bias: Array

    def gates(self, *order: int) -> Layer:
        """The same with the gates in another order, joined with the hidden channels."""
        weight, bias = self.weight[list(order)], self.bias[list(order)]
        return Layer(weight.reshape(-1, *weight.shape[2:]), bias.reshape(-1))


class Implementation(Protocol):
    """One of those compared."""

    def parameters(self) -> int:
        """Trained numbers."""

    def train(self) -> float:
        """One step: forward, mean squared error, backward, Adam. The loss before the step; NaN where there is none."""

    def infer(self) -> None:
        """Forward only."""

    def wait(self) -> None:
        """Until the device has done what it was given."""

    def about(self) -> dict[str, Any]:
        """Versions."""
