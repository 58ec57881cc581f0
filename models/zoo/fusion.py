"""An LSTM and a convolutional network side by side, and a gate between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.layers.lstm import LSTM
from models.layers.temporal import CausalConv, FramesToLeads
from models.networks.neural import NeuralModel
from models.networks.sample import Sizes
from models.networks.shape import Shape
from models.networks.trunks import OverSeries
from models.zoo.recurrent import Recurrent
from models.zoo.series import SeriesShape


@dataclass(frozen=True, kw_only=True)
class FusionShape(SeriesShape):
    """Size of both branches.

    Attributes:
        kernel: frames that a convolution sees.
        depth: convolutions, each with twice the dilation of the one before.
    """

    kernel: int = 3
    depth: int = 2


class Fusion(NeuralModel):
    """LSTM (Hochreiter and Schmidhuber 1997) and causal convolutions (Bai et al. 2018, arXiv:1803.01271), fused.

    For every lead and channel a learnt gate says how much of either is taken.
    """

    name: ClassVar[str] = "lstm-cnn-fusion"
    shape: ClassVar[type[Shape]] = FusionShape
    _shape: FusionShape

    def trunk(self, sizes: Sizes) -> tuple[nn.Module, int]:
        """Both branches and the gate."""
        shape = self._shape
        recurrent = Recurrent(partial(LSTM, shape.hidden, shape.hidden, layers=shape.layers))
        convolutional = TemporalCnn(shape.hidden, sizes, kernel=shape.kernel, depth=shape.depth)
        return OverSeries(Gated(recurrent, convolutional, shape.hidden), sizes, hidden=shape.hidden), shape.hidden


class Gated(nn.Module):
    """`g a + (1 - g) b` of what two cores make of the same series, where `g = sigmoid(W [a, b])`.

    Args:
        first: the core that makes a.
        second: the core that makes b.
        hidden: width of both.
    """

    def __init__(self, first: nn.Module, second: nn.Module, hidden: int) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.gate = nn.Linear(2 * hidden, hidden)

    def forward(self, past: Tensor, ahead: Tensor) -> Tensor:
        """From past (frame, m, hidden) and ahead (lead, m, hidden) to (lead, m, hidden)."""
        a, b = self.first(past, ahead), self.second(past, ahead)
        share = torch.sigmoid(self.gate(torch.cat([a, b], dim=-1)))
        fused: Tensor = b + share * (a - b)
        return fused


class TemporalCnn(nn.Module):
    """Causal convolutions with links past them, then a map from frames to leads.

    Args:
        hidden: channels.
        sizes: lengths of the fixed axes.
        kernel: frames that a convolution sees.
        depth: how many there are.
    """

    def __init__(self, hidden: int, sizes: Sizes, *, kernel: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            CausalConv(hidden, hidden, kernel=kernel, dilation=2**layer) for layer in range(depth)
        )
        self.leads = FramesToLeads(sizes.frames, sizes.leads)

    def forward(self, past: Tensor, ahead: Tensor) -> Tensor:
        """From past (frame, m, hidden) and ahead (lead, m, hidden) to (lead, m, hidden)."""
        for layer in self.layers:
            past = past + functional.gelu(layer(past))
        found: Tensor = self.leads(past) + ahead
        return found
