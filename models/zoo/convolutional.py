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
from models.networks.model_config import FieldNetworkConfig, NetworkConfig
from models.networks.neural import NeuralModel
from models.networks.sample import Dimensions
from models.networks.trunks import FieldTrunk


@dataclass(frozen=True, kw_only=True)
class DeepConfig(FieldNetworkConfig):
    """Size of a convolutional network."""

    layers: int = 2


@dataclass(frozen=True, kw_only=True)
class RcnnConfig(DeepConfig):
    """Size of a recurrent convolutional network.

    Attributes:
        steps: number of recurrent steps of each layer.
        width: channels of the layers.
    """

    steps: int = 3
    width: int = 48


class Convolutional(NeuralModel):
    """A network over fields; subclasses define its core."""

    config_class: ClassVar[type[NetworkConfig]] = DeepConfig
    _config: DeepConfig

    def trunk(self, dims: Dimensions) -> tuple[nn.Module, int]:
        """Return the core, over the grid or over the latent grid of the stations."""
        config = self._config
        core = self._core(dims)
        return FieldTrunk(core, dims, hidden=config.hidden, size=config.size, patch=config.patch), config.hidden

    @abstractmethod
    def _core(self, dims: Dimensions) -> nn.Module:
        """Map past (frame, n, hidden, h, w) and future (lead, n, hidden, h or 1, w or 1) to (lead, n, hidden, h, w)."""


class Stcn(Convolutional):
    """Spatial convolutions alternating with causal convolutions in time.

    A factorised 3-D convolution (Tran et al. 2018, arXiv:1711.11248), causal as in Bai et al. (2018).
    """

    name: ClassVar[str] = "stcn"
    _residual: ClassVar[bool] = False

    def _core(self, dims: Dimensions) -> nn.Module:
        config = self._config
        return SpaceTimeCore(dims, config.hidden, layers=config.layers, kernel=config.kernel, residual=self._residual)


class ResStcn(Stcn):
    """`Stcn` with residual connections (He et al. 2016, arXiv:1512.03385) and GroupNorm."""

    name: ClassVar[str] = "res-stcn"
    _residual: ClassVar[bool] = True


class Stn(Convolutional):
    """Frames aligned by a spatial transformer (Jaderberg et al. 2015, arXiv:1506.02025), then convolved."""

    name: ClassVar[str] = "stn"

    def _core(self, dims: Dimensions) -> nn.Module:
        config = self._config
        return AlignedCore(dims, config.hidden, layers=config.layers, kernel=config.kernel)


class Rcnn(Convolutional):
    """Recurrent convolutional layers (Liang and Hu 2015) over stacked frames, recurrent in depth rather than time."""

    name: ClassVar[str] = "rcnn"
    config_class: ClassVar[type[NetworkConfig]] = RcnnConfig
    _config: RcnnConfig

    def _core(self, dims: Dimensions) -> nn.Module:
        return RcnnCore(dims, self._config)


class SpaceTimeCore(nn.Module):
    """Blocks of convolution over space and time, then a linear map from frames to leads.

    Args:
        dims: axis lengths of the task.
        hidden: channels.
        layers: number of blocks; each has twice the dilation of the previous one.
        kernel: odd width of the convolutions over space.
        residual: whether blocks have residual connections and norms.
    """

    def __init__(self, dims: Dimensions, hidden: int, *, layers: int, kernel: int, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        self.space = nn.ModuleList(nn.Conv2d(hidden, hidden, kernel, padding=kernel // 2) for _ in range(layers))
        self.norms = nn.ModuleList(nn.GroupNorm(1, hidden) if residual else nn.Identity() for _ in range(layers))
        self.time = nn.ModuleList(CausalConv(hidden, hidden, dilation=2**layer) for layer in range(layers))
        self.leads = FramesToLeads(dims.frames, dims.leads)

    def forward(self, past: Tensor, future: Tensor) -> Tensor:
        """Return the fields of all leads."""
        for space, norm, time in zip(self.space, self.norms, self.time, strict=True):
            output = functional.gelu(time(functional.gelu(each_step(nn.Sequential(space, norm), past))))
            past = past + output if self.residual else output
        fields: Tensor = self.leads(past) + future
        return fields


class AlignedCore(nn.Module):
    """A spatial transform of every frame, predicted from it and the last frame, then convolutions.

    Args:
        dims: axis lengths of the task.
        hidden: channels.
        layers: number of convolutions.
        kernel: odd width of the convolutions.
    """

    def __init__(self, dims: Dimensions, hidden: int, *, layers: int, kernel: int) -> None:
        super().__init__()
        self.transformer = SpatialTransformer(2 * hidden, hidden)
        self.encoder = nn.Sequential(*(ConvBlock(hidden, hidden, kernel=kernel) for _ in range(layers)))
        self.leads = FramesToLeads(dims.frames, dims.leads)

    def forward(self, past: Tensor, future: Tensor) -> Tensor:
        """Return the fields of all leads."""
        seen = torch.cat([past, past[-1:].expand_as(past)], dim=2)
        moved = self.transformer(past.flatten(0, 1), seen.flatten(0, 1)).view_as(past)
        output: Tensor = self.leads(each_step(self.encoder, moved)) + future
        return output


class RcnnCore(nn.Module):
    """Recurrent convolutional layers from frames stacked as channels to leads stacked as channels.

    Args:
        dims: axis lengths of the task.
        config: size of the network.
    """

    def __init__(self, dims: Dimensions, config: RcnnConfig) -> None:
        super().__init__()
        self.steps = dims.leads
        self.project_in = nn.Conv2d(dims.frames * config.hidden, config.width, 1)
        self.layers = nn.Sequential(
            *(
                RecurrentConv(config.width, config.width, kernel=config.kernel, steps=config.steps)
                for _ in range(config.layers)
            )
        )
        self.project_out = nn.Conv2d(config.width, dims.leads * config.hidden, 1)

    def forward(self, past: Tensor, future: Tensor) -> Tensor:
        """Return the fields of all leads."""
        output = self.project_out(self.layers(self.project_in(stack_steps(past))))
        return split_steps(output, self.steps) + future
