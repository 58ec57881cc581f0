"""SimVP: spatial encoder, translator over stacked frames, decoder; no recurrence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from models.layers.blocks import ConvBlock, each_step, split_steps, stack_steps
from models.layers.gated_attention import GatedBlock
from models.layers.temporal import FramesToLeads
from models.networks.sample import Sizes
from models.networks.shape import Shape
from models.zoo.convolutional import Convolutional, DeepShape


@dataclass(frozen=True, kw_only=True)
class SimVpShape(DeepShape):
    """Size of SimVP.

    Attributes:
        layers: gated blocks of the translator.
        stride: cells along each side that the encoder makes one of; 1 for none.
        spatial: channels of a frame between encoder and translator.
        width: channels of all frames together, in the translator.
        reach: width of its kernels.
    """

    layers: int = 4
    stride: int = 2
    spatial: int = 24
    width: int = 64
    reach: int = 21


class SimVp(Convolutional):
    """SimVP (Gao et al. 2022, arXiv:2206.05099), gated attention of SimVPv2 (Tan et al. 2022, arXiv:2211.12509).

    Frames are encoded one by one, stacked as channels, and made into all leads at once. Besides the published design it
    is told what is known ahead, in the decoder, and leads may be more or fewer than frames.
    """

    name: ClassVar[str] = "simvp"
    shape: ClassVar[type[Shape]] = SimVpShape
    _shape: SimVpShape

    def _core(self, sizes: Sizes) -> nn.Module:
        return SimVpCore(sizes, self._shape)


class SimVpCore(nn.Module):
    """Encoder, translator and decoder.

    Args:
        sizes: lengths of the fixed axes.
        shape: its size.
    """

    def __init__(self, sizes: Sizes, shape: SimVpShape) -> None:
        super().__init__()
        hidden, kernel = shape.hidden, shape.kernel
        self.steps = sizes.leads
        self.fine = ConvBlock(hidden, hidden, kernel=kernel)
        self.coarse = ConvBlock(hidden, shape.spatial, kernel=kernel, stride=shape.stride)
        self.translator = nn.Sequential(
            nn.Conv2d(sizes.frames * shape.spatial, shape.width, 1),
            *(GatedBlock(shape.width, reach=shape.reach) for _ in range(shape.layers)),
            nn.Conv2d(shape.width, sizes.leads * shape.spatial, 1),
        )
        self.refine = nn.Sequential(
            nn.Conv2d(shape.spatial, hidden * shape.stride**2, kernel, padding=kernel // 2),
            nn.PixelShuffle(shape.stride),
        )
        self.leads = FramesToLeads(sizes.frames, sizes.leads)
        self.leave = nn.Sequential(ConvBlock(hidden, hidden, kernel=kernel), nn.Conv2d(hidden, hidden, 1))

    def forward(self, past: Tensor, ahead: Tensor) -> Tensor:
        """Fields of all leads."""
        fine = each_step(self.fine, past)
        found = split_steps(self.translator(stack_steps(each_step(self.coarse, fine))), self.steps)
        rows, columns = past.shape[3:]
        detailed = each_step(self.refine, functional.gelu(found))[..., :rows, :columns]
        # As in the paper, the decoder sees what the encoder saw before it lost detail.
        return each_step(self.leave, detailed + self.leads(fine) + ahead)
