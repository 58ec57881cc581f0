"""An LSTM and a convolutional network in parallel, fused by a gate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.layers.lstm import LSTM
from models.layers.temporal import CausalConv, FramesToLeads
from models.networks.model_config import NetworkConfig
from models.networks.neural import NeuralModel
from models.networks.sample import Dimensions
from models.networks.trunks import SeriesTrunk
from models.zoo.recurrent import Recurrent
from models.zoo.series import SeriesConfig


@dataclass(frozen=True, kw_only=True)
class FusionConfig(SeriesConfig):
    """Size of both branches.

    Attributes:
        kernel: width of a convolution in frames.
        depth: number of convolutions; each has twice the dilation of the previous one.
    """

    kernel: int = 3
    depth: int = 2


class Fusion(NeuralModel):
    """LSTM (Hochreiter and Schmidhuber 1997) and causal convolutions (Bai et al. 2018, arXiv:1803.01271), fused.

    A learnt gate weights the two for every lead and channel.
    """

    name: ClassVar[str] = "lstm-cnn-fusion"
    config_class: ClassVar[type[NetworkConfig]] = FusionConfig
    _config: FusionConfig

    def trunk(self, dims: Dimensions) -> tuple[nn.Module, int]:
        """Return both branches and the gate."""
        config = self._config
        recurrent = Recurrent(partial(LSTM, config.hidden, config.hidden, layers=config.layers))
        convolutional = TemporalCnn(config.hidden, dims, kernel=config.kernel, depth=config.depth)
        return SeriesTrunk(Gated(recurrent, convolutional, config.hidden), dims, hidden=config.hidden), config.hidden


class Gated(nn.Module):
    """The gated mean `g a + (1 - g) b` of the outputs of two cores, with `g = sigmoid(W [a, b])`.

    Args:
        first: the core with output a.
        second: the core with output b.
        hidden: width of both.
    """

    def __init__(self, first: nn.Module, second: nn.Module, hidden: int) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.gate = nn.Linear(2 * hidden, hidden)

    def forward(self, past: Tensor, future: Tensor) -> Tensor:
        """From past (frame, m, hidden) and future (lead, m, hidden) to (lead, m, hidden)."""
        a, b = self.first(past, future), self.second(past, future)
        gate = torch.sigmoid(self.gate(torch.cat([a, b], dim=-1)))
        fused: Tensor = b + gate * (a - b)
        return fused


class TemporalCnn(nn.Module):
    """Residual causal convolutions, then a linear map from frames to leads.

    Args:
        hidden: channels.
        dims: axis lengths of the task.
        kernel: width of a convolution in frames.
        depth: number of convolutions.
    """

    def __init__(self, hidden: int, dims: Dimensions, *, kernel: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            CausalConv(hidden, hidden, kernel=kernel, dilation=2**layer) for layer in range(depth)
        )
        self.leads = FramesToLeads(dims.frames, dims.leads)

    def forward(self, past: Tensor, future: Tensor) -> Tensor:
        """From past (frame, m, hidden) and future (lead, m, hidden) to (lead, m, hidden)."""
        for layer in self.layers:
            past = past + functional.gelu(layer(past))
        output: Tensor = self.leads(past) + future
        return output
