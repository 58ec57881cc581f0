"""Convolutions followed by an LSTM: in time for stations, in space for grids."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, get_args

from torch import Tensor, nn
from torch.nn import functional

from models.errors import ModelError
from models.layers.blocks import ConvBlock, each_step, to_fields, to_series
from models.layers.lstm import LSTM
from models.networks.model_config import FieldNetworkConfig, NetworkConfig
from models.networks.neural import NeuralModel
from models.networks.sample import Dimensions
from models.networks.trunks import FieldTrunk, SeriesTrunk
from models.zoo.recurrent import Recurrent

Convolve = Literal["auto", "time", "space"]


@dataclass(frozen=True, kw_only=True)
class CnnLstmConfig(FieldNetworkConfig):
    """Size of a CNN-LSTM.

    Attributes:
        convolve: `time`: Conv1D and pooling over the frames of each location, then an LSTM. `space`: Conv2D on every
            frame (for stations on a latent grid), then an LSTM in every cell. `auto`: space for grids, else time.
        depth: number of convolutions on every frame; in time there is one.
    """

    convolve: Convolve = "auto"
    depth: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.convolve not in get_args(Convolve):
            raise ModelError(f"convolve must be one of {list(get_args(Convolve))}, found {self.convolve!r}")


class CnnLstm(NeuralModel):
    """A CNN followed by an LSTM (Donahue et al. 2015, arXiv:1411.4389).

    Weights are shared by all cells or locations and nothing is flattened, so the grid and the locations may vary.
    """

    name: ClassVar[str] = "cnn-lstm"
    config_class: ClassVar[type[NetworkConfig]] = CnnLstmConfig
    _config: CnnLstmConfig

    def trunk(self, dims: Dimensions) -> tuple[nn.Module, int]:
        """Return convolutions in time or space, with an LSTM encoder and forecaster."""
        config, hidden = self._config, self._config.hidden
        recurrent = Recurrent(partial(LSTM, hidden, hidden, layers=config.layers))
        over_time = dims.scattered if config.convolve == "auto" else config.convolve == "time"
        if over_time:
            return SeriesTrunk(TimeThenLstm(recurrent, hidden, kernel=config.kernel), dims, hidden=hidden), hidden
        core = SpaceThenLstm(recurrent, hidden, kernel=config.kernel, depth=config.depth)
        return FieldTrunk(core, dims, hidden=hidden, size=config.size, patch=config.patch), hidden


class TimeThenLstm(nn.Module):
    """Conv1D and max pooling over the frames, then a recurrent core.

    Args:
        recurrent: a core over series.
        hidden: channels.
        kernel: odd width of the convolution in frames.
    """

    def __init__(self, recurrent: nn.Module, hidden: int, *, kernel: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(hidden, hidden, kernel, padding=kernel // 2)
        self.recurrent = recurrent

    def forward(self, past: Tensor, future: Tensor) -> Tensor:
        """From past (frame, m, hidden) and future (lead, m, hidden) to (lead, m, hidden)."""
        features = functional.relu(self.convolution(past.permute(1, 2, 0)))
        pooled = functional.max_pool1d(features, 2, ceil_mode=True).permute(2, 0, 1)
        output: Tensor = self.recurrent(pooled, future)
        return output


class SpaceThenLstm(nn.Module):
    """Conv2D blocks on every frame, then a recurrent core in every cell.

    Args:
        recurrent: a core over series.
        hidden: channels.
        kernel: odd width of the convolutions.
        depth: number of convolutions.
    """

    def __init__(self, recurrent: nn.Module, hidden: int, *, kernel: int, depth: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(ConvBlock(hidden, hidden, kernel=kernel) for _ in range(depth)))
        self.recurrent = recurrent

    def forward(self, past: Tensor, future: Tensor) -> Tensor:
        """Map past (frame, n, hidden, h, w) and future (lead, n, hidden, h or 1, w or 1) to (lead, n, hidden, h, w)."""
        future = future.expand(-1, -1, -1, *past.shape[3:])
        output: Tensor = self.recurrent(to_series(each_step(self.blocks, past)), to_series(future))
        return to_fields(output, past)
