"""Recurrent networks over the series of each location, with weights that all locations share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, get_args

from torch import nn

from models.errors import ModelError
from models.layers.attention import TemporalAttention
from models.layers.bidirectional import BidirectionalLSTM
from models.layers.gru import GRU
from models.layers.lstm import LSTM
from models.networks.neural import NeuralModel
from models.networks.sample import Sizes
from models.networks.shape import Shape
from models.networks.trunks import OverSeries
from models.zoo.recurrent import Layer, Recurrent

Attend = Literal["dot", "additive", "multi-head"]


@dataclass(frozen=True, kw_only=True)
class SeriesShape(Shape):
    """Size of a network over series."""

    hidden: int = 32


@dataclass(frozen=True, kw_only=True)
class AttentionShape(SeriesShape):
    """Size of a network over series, with attention.

    Attributes:
        attention: how a lead finds what it needs among the frames.
    """

    attention: Attend = "multi-head"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.attention not in get_args(Attend):
            raise ModelError(f"attention must be one of {list(get_args(Attend))}, found {self.attention!r}")


class OverLocations(NeuralModel):
    """A recurrent encoder-forecaster over the series of each location. Subclasses say of which layers.

    Sequence to sequence, without feeding outputs back: Cho et al. 2014 (arXiv:1406.1078).
    """

    shape: ClassVar[type[Shape]] = SeriesShape

    def trunk(self, sizes: Sizes) -> tuple[nn.Module, int]:
        """One recurrent stack to read the frames, one to step through the leads."""
        hidden, layers = self._shape.hidden, self._shape.layers
        core = Recurrent(
            self._layer(hidden, layers), encoder=self._encoder(hidden, layers), attention=self._attention()
        )
        return OverSeries(core, sizes, hidden=hidden), hidden

    def _layer(self, hidden: int, layers: int) -> Layer:
        """Makes the recurrent stacks."""
        return partial(LSTM, hidden, hidden, layers=layers)

    def _encoder(self, hidden: int, layers: int) -> Layer | None:
        """Makes the one that reads, where that is another."""
        return None

    def _attention(self) -> nn.Module | None:
        return None


class LstmModel(OverLocations):
    """Long short-term memory of Hochreiter and Schmidhuber (1997), with the forget gate of Gers et al. (2000)."""

    name: ClassVar[str] = "lstm"


class PeepholeLstm(OverLocations):
    """LSTM whose gates see the cell (Gers et al. 2002): the output gate the new one, the others the old one."""

    name: ClassVar[str] = "peephole-lstm"

    def _layer(self, hidden: int, layers: int) -> Layer:
        return partial(LSTM, hidden, hidden, layers=layers, peepholes=True)


class BiLstm(OverLocations):
    """LSTM that reads the frames both ways (Schuster and Paliwal 1997); it steps through the leads forwards only."""

    name: ClassVar[str] = "bilstm"

    def _encoder(self, hidden: int, layers: int) -> Layer:
        return partial(BidirectionalLSTM, hidden, hidden, layers=layers)


class GruModel(OverLocations):
    """Gated recurrent unit of Cho et al. (2014, arXiv:1406.1078)."""

    name: ClassVar[str] = "gru"

    def _layer(self, hidden: int, layers: int) -> Layer:
        return partial(GRU, hidden, hidden, layers=layers)


class AttentionLstm(OverLocations):
    """LSTM whose leads look back at the states of all frames; what they find joins the output (Luong et al. 2015)."""

    name: ClassVar[str] = "attention-lstm"
    shape: ClassVar[type[Shape]] = AttentionShape
    _shape: AttentionShape

    def _attention(self) -> nn.Module:
        return TemporalAttention(self._shape.hidden, kind=self._shape.attention)


class AttentionGru(AttentionLstm):
    """GRU whose leads look back at the states of all frames; what they find joins the output (Luong et al. 2015)."""

    name: ClassVar[str] = "attention-gru"

    def _layer(self, hidden: int, layers: int) -> Layer:
        return partial(GRU, hidden, hidden, layers=layers)
