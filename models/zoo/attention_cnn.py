"""A CNN with attention over space, over time, and from leads to frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.layers.attention import CrossAttention, FrameAttention, Kind, SelfAttention
from models.layers.blocks import ConvBlock, each_step, to_fields, to_series
from models.networks.model_config import NetworkConfig
from models.networks.sample import Dimensions
from models.zoo.convolutional import Convolutional, DeepConfig

# Maximum number of tokens along each side of a field in spatial attention.
_SIDE = 16


@dataclass(frozen=True, kw_only=True)
class AttentionCnnConfig(DeepConfig):
    """Size of a CNN with attention.

    Attributes:
        attention: kind of attention; `additive` needs memory for every pair of tokens and channel.
        depth: number of blocks of attention over space and time.
    """

    attention: Kind = "multi-head"
    depth: int = 1


class AttentionCnn(Convolutional):
    """CNN encoder, self-attention over space and over time, cross-attention from leads to frames.

    Attention as in Vaswani et al. (2017, arXiv:1706.03762), divided into space and time as in Bertasius et al. (2021,
    arXiv:2102.05095): tokens attend within one frame or within one cell.
    """

    name: ClassVar[str] = "attention-cnn"
    config_class: ClassVar[type[NetworkConfig]] = AttentionCnnConfig
    _config: AttentionCnnConfig

    def _core(self, dims: Dimensions) -> nn.Module:
        return AttentionCore(dims, self._config)


class AttentionCore(nn.Module):
    """Convolutions, blocks of self-attention, and cross-attention from every lead to the frames.

    Args:
        dims: axis lengths of the task.
        config: size of the network.
    """

    def __init__(self, dims: Dimensions, config: AttentionCnnConfig) -> None:
        super().__init__()
        hidden = config.hidden
        self.encoder = nn.Sequential(*(ConvBlock(hidden, hidden, kernel=config.kernel) for _ in range(config.layers)))
        self.age = nn.Parameter(torch.randn(dims.frames, 1, hidden, 1, 1) / hidden**0.5)
        self.rounds = nn.ModuleList(DividedAttention(hidden, kind=config.attention) for _ in range(config.depth))
        self.look_back = FrameAttention(hidden, kind=config.attention)

    def forward(self, past: Tensor, future: Tensor) -> Tensor:
        """Return the fields of all leads."""
        frames = past + each_step(self.encoder, past) + self.age
        for each in self.rounds:
            frames = each(frames)
        leads = to_series(frames[-1] + future).transpose(0, 1)
        output: Tensor = self.look_back(leads, to_series(frames).transpose(0, 1))
        return to_fields(output.transpose(0, 1), past)


class DividedAttention(nn.Module):
    """Attention within a frame, then within a cell over time, then a feed-forward net, all residual.

    Cells of a field larger than 16 x 16 attend to its averages on a 16 x 16 grid.

    Args:
        hidden: channels.
        kind: kind of attention.
    """

    def __init__(self, hidden: int, *, kind: Kind) -> None:
        super().__init__()
        self.space = CrossAttention(hidden, kind=kind)
        self.time = SelfAttention(hidden, kind=kind)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(hidden), nn.Linear(hidden, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, hidden)
        )

    def forward(self, x: Tensor) -> Tensor:
        """From x (frame, n, hidden, h, w) to the same shape."""
        fields, means = _with_means(x)
        near = self.space(_tokens(fields), _tokens(means)).transpose(1, 2).reshape(x.shape)
        series = self.time(to_series(near).transpose(0, 1))
        series = series + self.feed_forward(series)
        return to_fields(series.transpose(0, 1), x)

    def cell_weights(self, x: Tensor) -> Tensor:
        """Return the mean weight of each cell in attention over space, (h, w), for the argument of `forward`."""
        fields, means = _with_means(x)
        tokens, memory = self.space.norm(_tokens(fields)), self.space.memory_norm(_tokens(means))
        weights = self.space.attention.mean_weights(tokens, memory).mean(0)
        return functional.interpolate(weights.view(1, 1, *means.shape[2:]), size=fields.shape[2:])[0, 0]


def _with_means(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the fields of all frames, (frame * n, hidden, h, w), and their averages on at most 16 x 16 cells."""
    fields = x.flatten(0, 1)
    rows, columns = (min(side, _SIDE) for side in fields.shape[2:])
    return fields, functional.adaptive_avg_pool2d(fields, (rows, columns))


def _tokens(fields: Tensor) -> Tensor:
    """From (m, hidden, h, w) to (m, cell, hidden)."""
    return fields.flatten(2).transpose(1, 2)
