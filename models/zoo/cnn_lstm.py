"""Convolutions that make features, then an LSTM that follows them: along time for stations, in space for grids."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, get_args

from torch import Tensor, nn
from torch.nn import functional

from models.errors import ModelError
from models.layers.blocks import ConvBlock, each_step, to_fields, to_series
from models.layers.lstm import LSTM
from models.networks.neural import NeuralModel
from models.networks.sample import Sizes
from models.networks.shape import FieldShape, Shape
from models.networks.trunks import OverFields, OverSeries
from models.zoo.recurrent import Recurrent

Convolve = Literal["auto", "time", "space"]


@dataclass(frozen=True, kw_only=True)
class CnnLstmShape(FieldShape):
    """Size of a CNN-LSTM.

    Attributes:
        convolve: `time`: Conv1D and pooling along the frames of each location, then an LSTM; `space`: Conv2D on every
            frame, then an LSTM in every cell, for stations on their latent grid; `auto`: space for grids, else time.
        depth: convolutions on every frame; along time there is one.
    """

    convolve: Convolve = "auto"
    depth: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.convolve not in get_args(Convolve):
            raise ModelError(f"convolve must be one of {list(get_args(Convolve))}, found {self.convolve!r}")


class CnnLstm(NeuralModel):
    """Convolutional LSTM in the older sense: CNN first, LSTM after it (Donahue et al. 2015, arXiv:1411.4389).

    Weights are shared by all cells or locations; nothing is flattened, so sizes stay free.
    """

    name: ClassVar[str] = "cnn-lstm"
    shape: ClassVar[type[Shape]] = CnnLstmShape
    _shape: CnnLstmShape

    def trunk(self, sizes: Sizes) -> tuple[nn.Module, int]:
        """Convolutions along time or in space, and an LSTM each to read and to forecast."""
        shape, hidden = self._shape, self._shape.hidden
        recurrent = Recurrent(partial(LSTM, hidden, hidden, layers=shape.layers))
        over_time = sizes.scattered if shape.convolve == "auto" else shape.convolve == "time"
        if over_time:
            return OverSeries(TimeThenLstm(recurrent, hidden, kernel=shape.kernel), sizes, hidden=hidden), hidden
        core = SpaceThenLstm(recurrent, hidden, kernel=shape.kernel, depth=shape.depth)
        return OverFields(core, sizes, hidden=hidden, size=shape.size, patch=shape.patch), hidden


class TimeThenLstm(nn.Module):
    """Conv1D and maximum of pairs along the frames, then a recurrent core.

    Args:
        recurrent: a core over series.
        hidden: channels.
        kernel: odd number of frames that the convolution sees.
    """

    def __init__(self, recurrent: nn.Module, hidden: int, *, kernel: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(hidden, hidden, kernel, padding=kernel // 2)
        self.recurrent = recurrent

    def forward(self, past: Tensor, ahead: Tensor) -> Tensor:
        """From past (frame, m, hidden) and ahead (lead, m, hidden) to (lead, m, hidden)."""
        found = functional.relu(self.convolution(past.permute(1, 2, 0)))
        pooled = functional.max_pool1d(found, 2, ceil_mode=True).permute(2, 0, 1)
        made: Tensor = self.recurrent(pooled, ahead)
        return made


class SpaceThenLstm(nn.Module):
    """Conv2D blocks on every frame by itself, then a recurrent core in every cell.

    Args:
        recurrent: a core over series.
        hidden: channels.
        kernel: odd width of the convolutions.
        depth: how many there are.
    """

    def __init__(self, recurrent: nn.Module, hidden: int, *, kernel: int, depth: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(ConvBlock(hidden, hidden, kernel=kernel) for _ in range(depth)))
        self.recurrent = recurrent

    def forward(self, past: Tensor, ahead: Tensor) -> Tensor:
        """From past (frame, n, hidden, h, w) and ahead (lead, n, hidden, h or 1, w or 1) to (lead, n, hidden, h, w)."""
        ahead = ahead.expand(-1, -1, -1, *past.shape[3:])
        made: Tensor = self.recurrent(to_series(each_step(self.blocks, past)), to_series(ahead))
        return to_fields(made, past)
