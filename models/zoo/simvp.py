"""SimVP: spatial encoder, translator over stacked frames, decoder; no recurrence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from models.layers.blocks import ConvBlock, each_step, split_steps, stack_steps
from models.layers.gated_attention import GatedBlock
from models.layers.temporal import FramesToLeads
from models.networks.model_config import NetworkConfig
from models.networks.sample import Dimensions
from models.zoo.convolutional import Convolutional, DeepConfig


@dataclass(frozen=True, kw_only=True)
class SimVpConfig(DeepConfig):
    """Size of SimVP.

    Attributes:
        layers: number of gated blocks in the translator.
        stride: downsampling factor of the encoder.
        spatial: channels of each frame between encoder and translator.
        width: channels of the translator, over all frames.
        reach: kernel width of the translator's attention.
    """

    layers: int = 4
    stride: int = 2
    spatial: int = 24
    width: int = 64
    reach: int = 21


class SimVp(Convolutional):
    """SimVP (Gao et al. 2022, arXiv:2206.05099) with gated attention (SimVPv2; Tan et al. 2022, arXiv:2211.12509).

    Frames are encoded separately, stacked as channels and mapped to all leads at once. Unlike the published design the
    decoder gets the future inputs, and the numbers of leads and frames may differ.
    """

    name: ClassVar[str] = "simvp"
    config_class: ClassVar[type[NetworkConfig]] = SimVpConfig
    _config: SimVpConfig

    def _core(self, dims: Dimensions) -> nn.Module:
        return SimVpCore(dims, self._config)


class SimVpCore(nn.Module):
    """Encoder, translator and decoder.

    Args:
        dims: axis lengths of the task.
        config: size of the network.
    """

    def __init__(self, dims: Dimensions, config: SimVpConfig) -> None:
        super().__init__()
        hidden, kernel = config.hidden, config.kernel
        self.steps = dims.leads
        self.fine = ConvBlock(hidden, hidden, kernel=kernel)
        self.coarse = ConvBlock(hidden, config.spatial, kernel=kernel, stride=config.stride)
        self.translator = nn.Sequential(
            nn.Conv2d(dims.frames * config.spatial, config.width, 1),
            *(GatedBlock(config.width, reach=config.reach) for _ in range(config.layers)),
            nn.Conv2d(config.width, dims.leads * config.spatial, 1),
        )
        self.refine = nn.Sequential(
            nn.Conv2d(config.spatial, hidden * config.stride**2, kernel, padding=kernel // 2),
            nn.PixelShuffle(config.stride),
        )
        self.leads = FramesToLeads(dims.frames, dims.leads)
        self.project_out = nn.Sequential(ConvBlock(hidden, hidden, kernel=kernel), nn.Conv2d(hidden, hidden, 1))

    def forward(self, past: Tensor, future: Tensor) -> Tensor:
        """Return the fields of all leads."""
        fine = each_step(self.fine, past)
        translated = split_steps(self.translator(stack_steps(each_step(self.coarse, fine))), self.steps)
        rows, columns = past.shape[3:]
        detailed = each_step(self.refine, functional.gelu(translated))[..., :rows, :columns]
        # As in the paper, a skip connection from before the downsampling.
        return each_step(self.project_out, detailed + self.leads(fine) + future)
