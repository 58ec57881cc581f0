"""Convolutional networks over fields, without recurrence in time."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.layers.blocks import ConvBlock, each_step, split_steps, stack_steps
from models.layers.recurrent_conv import RecurrentConv
from models.layers.spatial_transformer import SpatialTransformer
from models.layers.temporal import CausalConv, FramesToLeads
from models.networks.neural import NeuralModel
from models.networks.sample import Sizes
from models.networks.shape import FieldShape, Shape
from models.networks.trunks import OverFields


@dataclass(frozen=True, kw_only=True)
class DeepShape(FieldShape):
    """Size of a convolutional network: two layers unless told otherwise."""

    layers: int = 2


@dataclass(frozen=True, kw_only=True)
class RcnnShape(DeepShape):
    """Size of a recurrent convolutional network.

    Attributes:
        steps: how often a layer looks at its own output again.
        width: channels over all frames.
    """

    steps: int = 3
    width: int = 48


class Convolutional(NeuralModel):
    """A network over fields. Subclasses say what its core is."""

    shape: ClassVar[type[Shape]] = DeepShape
    _shape: DeepShape

    def trunk(self, sizes: Sizes) -> tuple[nn.Module, int]:
        """The core, over the grid or over the latent grid of the stations."""
        shape = self._shape
        core = self._core(sizes)
        return OverFields(core, sizes, hidden=shape.hidden, size=shape.size, patch=shape.patch), shape.hidden

    @abstractmethod
    def _core(self, sizes: Sizes) -> nn.Module:
        """From past (frame, n, hidden, h, w) and ahead (lead, n, hidden, h or 1, w or 1) to (lead, n, hidden, h, w)."""


class Stcn(Convolutional):
    """Space-time convolutions: over space, then causally along time, layer by layer.

    The factorised form of 3-D convolution (Tran et al. 2018, arXiv:1711.11248), causal as in Bai et al. (2018).
    """

    name: ClassVar[str] = "stcn"
    _residual: ClassVar[bool] = False

    def _core(self, sizes: Sizes) -> nn.Module:
        shape = self._shape
        return SpaceTimeCore(sizes, shape.hidden, layers=shape.layers, kernel=shape.kernel, residual=self._residual)


class ResStcn(Stcn):
    """Space-time convolutions with links past each layer (He et al. 2016, arXiv:1512.03385) and GroupNorm."""

    name: ClassVar[str] = "res-stcn"
    _residual: ClassVar[bool] = True


class Stn(Convolutional):
    """Spatial transformer (Jaderberg et al. 2015, arXiv:1506.02025): frames are moved into place, then convolved."""

    name: ClassVar[str] = "stn"

    def _core(self, sizes: Sizes) -> nn.Module:
        shape = self._shape
        return AlignedCore(sizes, shape.hidden, layers=shape.layers, kernel=shape.kernel)


class Rcnn(Convolutional):
    """Recurrent convolutional layers (Liang and Hu 2015) over all frames at once: the recurrence is in depth."""

    name: ClassVar[str] = "rcnn"
    shape: ClassVar[type[Shape]] = RcnnShape
    _shape: RcnnShape

    def _core(self, sizes: Sizes) -> nn.Module:
        return RcnnCore(sizes, self._shape)


class SpaceTimeCore(nn.Module):
    """Blocks of convolution over space and along time, then a map from frames to leads.

    Args:
        sizes: lengths of the fixed axes.
        hidden: channels.
        layers: blocks; each looks twice as far back as the one before.
        kernel: odd width of the convolutions over space.
        residual: whether blocks are linked past and normalised.
    """

    def __init__(self, sizes: Sizes, hidden: int, *, layers: int, kernel: int, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        self.space = nn.ModuleList(nn.Conv2d(hidden, hidden, kernel, padding=kernel // 2) for _ in range(layers))
        self.norms = nn.ModuleList(nn.GroupNorm(1, hidden) if residual else nn.Identity() for _ in range(layers))
        self.time = nn.ModuleList(CausalConv(hidden, hidden, dilation=2**layer) for layer in range(layers))
        self.leads = FramesToLeads(sizes.frames, sizes.leads)

    def forward(self, past: Tensor, ahead: Tensor) -> Tensor:
        """Fields of all leads."""
        for space, norm, time in zip(self.space, self.norms, self.time, strict=True):
            found = functional.gelu(time(functional.gelu(each_step(nn.Sequential(space, norm), past))))
            past = past + found if self.residual else found
        made: Tensor = self.leads(past) + ahead
        return made


class AlignedCore(nn.Module):
    """Every frame is transformed in space, as itself and the last frame together ask for, then convolved.

    Args:
        sizes: lengths of the fixed axes.
        hidden: channels.
        layers: convolutions.
        kernel: odd width of the convolutions.
    """

    def __init__(self, sizes: Sizes, hidden: int, *, layers: int, kernel: int) -> None:
        super().__init__()
        self.transformer = SpatialTransformer(2 * hidden, hidden)
        self.encoder = nn.Sequential(*(ConvBlock(hidden, hidden, kernel=kernel) for _ in range(layers)))
        self.leads = FramesToLeads(sizes.frames, sizes.leads)

    def forward(self, past: Tensor, ahead: Tensor) -> Tensor:
        """Fields of all leads."""
        seen = torch.cat([past, past[-1:].expand_as(past)], dim=2)
        moved = self.transformer(past.flatten(0, 1), seen.flatten(0, 1)).view_as(past)
        made: Tensor = self.leads(each_step(self.encoder, moved)) + ahead
        return made


class RcnnCore(nn.Module):
    """All frames as channels, recurrent convolutional layers, all leads as channels.

    Args:
        sizes: lengths of the fixed axes.
        shape: its size.
    """

    def __init__(self, sizes: Sizes, shape: RcnnShape) -> None:
        super().__init__()
        self.steps = sizes.leads
        self.enter = nn.Conv2d(sizes.frames * shape.hidden, shape.width, 1)
        self.layers = nn.Sequential(
            *(
                RecurrentConv(shape.width, shape.width, kernel=shape.kernel, steps=shape.steps)
                for _ in range(shape.layers)
            )
        )
        self.leave = nn.Conv2d(shape.width, sizes.leads * shape.hidden, 1)

    def forward(self, past: Tensor, ahead: Tensor) -> Tensor:
        """Fields of all leads."""
        found = self.leave(self.layers(self.enter(stack_steps(past))))
        return split_steps(found, self.steps) + ahead
