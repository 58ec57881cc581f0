"""DLinear: how far straight lines go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from models.errors import ModelError
from models.layers.decomposition import DecomposedLinear
from models.networks.neural import NeuralModel
from models.networks.sample import Sizes
from models.networks.shape import Shape
from models.networks.trunks import OverSeries


@dataclass(frozen=True, kw_only=True)
class LinearShape(Shape):
    """Size of DLinear.

    Attributes:
        window: odd number of frames that the moving average takes; 25 in the paper, for far longer contexts.
    """

    frames: int = 0
    window: int = 7

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window % 2 == 0:
            raise ModelError(f"window must be odd, found {self.window}")


class LinearModel(NeuralModel):
    """DLinear of Zeng et al. (2023, arXiv:2205.13504), its two linear maps shared by all locations.

    Trend and remainder of each channel go from all frames to all leads by straight weights; like every network here it
    corrects a base, and the head that makes the quantiles of it is not linear.
    """

    name: ClassVar[str] = "dlinear"
    shape: ClassVar[type[Shape]] = LinearShape
    _shape: LinearShape

    def trunk(self, sizes: Sizes) -> tuple[nn.Module, int]:
        """A linear map each for trend and remainder."""
        core = LinearCore(sizes, window=self._shape.window)
        return OverSeries(core, sizes, hidden=self._shape.hidden), self._shape.hidden


class LinearCore(nn.Module):
    """The linear maps, and what is known ahead.

    Args:
        sizes: lengths of the fixed axes.
        window: odd number of frames of the moving average.
    """

    def __init__(self, sizes: Sizes, *, window: int) -> None:
        super().__init__()
        self.linear = DecomposedLinear(sizes.frames, sizes.leads, window=window)

    def forward(self, past: Tensor, ahead: Tensor) -> Tensor:
        """From past (frame, m, hidden) and ahead (lead, m, hidden) to (lead, m, hidden)."""
        found: Tensor = self.linear(past) + ahead
        return found
