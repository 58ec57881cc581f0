"""A CNN whose cells attend to each other, to their own past, and from each lead to the frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.layers.attention import CrossAttention, Kind, SelfAttention
from models.layers.blocks import ConvBlock, each_step, to_fields, to_series
from models.networks.sample import Sizes
from models.networks.shape import Shape
from models.zoo.convolutional import Convolutional, DeepShape

# Tokens along each side that a cell may attend to, in space.
_SIDE = 16


@dataclass(frozen=True, kw_only=True)
class AttentionCnnShape(DeepShape):
    """Size of a CNN with attention.

    Attributes:
        attention: how tokens find each other; `additive` holds a number for every pair and channel.
        depth: rounds of attention over space and time.
    """

    attention: Kind = "multi-head"
    depth: int = 1


class AttentionCnn(Convolutional):
    """CNN encoder, self-attention over space and over time, cross-attention from leads to frames.

    Attention is that of Vaswani et al. (2017, arXiv:1706.03762), divided into space and time as in Bertasius et al.
    (2021, arXiv:2102.05095), so that the tokens of one frame or of one cell meet, and never all.
    """

    name: ClassVar[str] = "attention-cnn"
    shape: ClassVar[type[Shape]] = AttentionCnnShape
    _shape: AttentionCnnShape

    def _core(self, sizes: Sizes) -> nn.Module:
        return AttentionCore(sizes, self._shape)


class AttentionCore(nn.Module):
    """Convolutions, rounds of self-attention, and a look back from every lead.

    Args:
        sizes: lengths of the fixed axes.
        shape: its size.
    """

    def __init__(self, sizes: Sizes, shape: AttentionCnnShape) -> None:
        super().__init__()
        hidden = shape.hidden
        self.encoder = nn.Sequential(*(ConvBlock(hidden, hidden, kernel=shape.kernel) for _ in range(shape.layers)))
        self.age = nn.Parameter(torch.randn(sizes.frames, 1, hidden, 1, 1) / hidden**0.5)
        self.rounds = nn.ModuleList(DividedAttention(hidden, kind=shape.attention) for _ in range(shape.depth))
        self.look_back = CrossAttention(hidden, kind=shape.attention)

    def forward(self, past: Tensor, ahead: Tensor) -> Tensor:
        """Fields of all leads."""
        frames = past + each_step(self.encoder, past) + self.age
        for each in self.rounds:
            frames = each(frames)
        leads = to_series(frames[-1] + ahead).transpose(0, 1)
        found: Tensor = self.look_back(leads, to_series(frames).transpose(0, 1))
        return to_fields(found.transpose(0, 1), past)


class DividedAttention(nn.Module):
    """Cells of one frame attend to each other, then frames of one cell, then a feed-forward net; each added.

    A field of more than 16 x 16 cells attends to its means over as many parts.

    Args:
        hidden: channels.
        kind: how tokens find each other.
    """

    def __init__(self, hidden: int, *, kind: Kind) -> None:
        super().__init__()
        self.space = CrossAttention(hidden, kind=kind)
        self.time = SelfAttention(hidden, kind=kind)
        self.feed = nn.Sequential(
            nn.LayerNorm(hidden), nn.Linear(hidden, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, hidden)
        )

    def forward(self, x: Tensor) -> Tensor:
        """From x (frame, n, hidden, h, w) to as many."""
        fields = x.flatten(0, 1)
        rows, columns = (min(side, _SIDE) for side in fields.shape[2:])
        means = functional.adaptive_avg_pool2d(fields, (rows, columns))
        near = self.space(_tokens(fields), _tokens(means)).transpose(1, 2).reshape(x.shape)
        series = self.time(to_series(near).transpose(0, 1))
        series = series + self.feed(series)
        return to_fields(series.transpose(0, 1), x)


def _tokens(fields: Tensor) -> Tensor:
    """From (m, hidden, h, w) to (m, cell, hidden)."""
    return fields.flatten(2).transpose(1, 2)
