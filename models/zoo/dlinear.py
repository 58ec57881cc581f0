"""DLinear, a linear network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from models.errors import ModelError
from models.layers.decomposition import DecomposedLinear
from models.networks.model_config import NetworkConfig
from models.networks.neural import NeuralModel
from models.networks.sample import Dimensions
from models.networks.trunks import SeriesTrunk
from models.search_space import IntRange, SearchSpace
from models.task import Task


@dataclass(frozen=True, kw_only=True)
class LinearConfig(NetworkConfig):
    """Size of DLinear.

    Attributes:
        window: odd number of frames of the moving average; 25 in the paper, for much longer contexts.
    """

    frames: int = 0
    window: int = 7

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window % 2 == 0:
            raise ModelError(f"window must be odd, found {self.window}")

    @classmethod
    def search_space(cls, task: Task) -> SearchSpace:
        """Return the fields worth a search; it has no layers."""
        space = {**super().search_space(task), "window": IntRange(3, 25, step=2)}
        del space["layers"]
        return space


class LinearModel(NeuralModel):
    """DLinear (Zeng et al. 2023, arXiv:2205.13504), with its two linear maps shared by all locations.

    Trend and remainder of each channel are mapped linearly from all frames to all leads. Like every network here it
    corrects a base, and its head is not linear.
    """

    name: ClassVar[str] = "dlinear"
    config_class: ClassVar[type[NetworkConfig]] = LinearConfig
    _config: LinearConfig

    def trunk(self, dims: Dimensions) -> tuple[nn.Module, int]:
        """Return one linear map for the trend and one for the remainder."""
        core = LinearCore(dims, window=self._config.window)
        return SeriesTrunk(core, dims, hidden=self._config.hidden), self._config.hidden


class LinearCore(nn.Module):
    """The linear maps, plus the future inputs.

    Args:
        dims: axis lengths of the task.
        window: odd number of frames of the moving average.
    """

    def __init__(self, dims: Dimensions, *, window: int) -> None:
        super().__init__()
        self.linear = DecomposedLinear(dims.frames, dims.leads, window=window)

    def forward(self, past: Tensor, future: Tensor) -> Tensor:
        """From past (frame, m, hidden) and future (lead, m, hidden) to (lead, m, hidden)."""
        output: Tensor = self.linear(past) + future
        return output
