"""Recurrent networks over the series of each location, with shared weights."""

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
from models.networks.model_config import NetworkConfig
from models.networks.neural import NeuralModel
from models.networks.sample import Dimensions
from models.networks.trunks import SeriesTrunk
from models.zoo.recurrent import Layer, Recurrent

Attend = Literal["dot", "additive", "multi-head"]


@dataclass(frozen=True, kw_only=True)
class SeriesConfig(NetworkConfig):
    """Size of a network over series."""

    hidden: int = 32


@dataclass(frozen=True, kw_only=True)
class AttentionConfig(SeriesConfig):
    """Size of a network over series, with attention.

    Attributes:
        attention: kind of attention from leads to frames.
    """

    attention: Attend = "multi-head"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.attention not in get_args(Attend):
            raise ModelError(f"attention must be one of {list(get_args(Attend))}, found {self.attention!r}")


class SeriesModel(NeuralModel):
    """A recurrent encoder-forecaster over the series of each location; subclasses define its layers.

    Sequence to sequence without feeding outputs back (Cho et al. 2014, arXiv:1406.1078).
    """

    config_class: ClassVar[type[NetworkConfig]] = SeriesConfig

    def trunk(self, dims: Dimensions) -> tuple[nn.Module, int]:
        """Return one recurrent stack over the frames and one over the leads."""
        hidden, layers = self._config.hidden, self._config.layers
        core = Recurrent(
            self._layer(hidden, layers), encoder=self._encoder(hidden, layers), attention=self._attention()
        )
        return SeriesTrunk(core, dims, hidden=hidden), hidden

    def _layer(self, hidden: int, layers: int) -> Layer:
        """Return the factory of the forecaster, and of the encoder by default."""
        return partial(LSTM, hidden, hidden, layers=layers)

    def _encoder(self, hidden: int, layers: int) -> Layer | None:
        """Return the factory of the encoder, or None for that of the forecaster."""
        return None

    def _attention(self) -> nn.Module | None:
        return None


class LstmModel(SeriesModel):
    """LSTM (Hochreiter and Schmidhuber 1997) with a forget gate (Gers et al. 2000)."""

    name: ClassVar[str] = "lstm"


class PeepholeLstm(SeriesModel):
    """LSTM with peepholes (Gers et al. 2002): the output gate reads the new cell, the others the old one."""

    name: ClassVar[str] = "peephole-lstm"

    def _layer(self, hidden: int, layers: int) -> Layer:
        return partial(LSTM, hidden, hidden, layers=layers, peepholes=True)


class BiLstm(SeriesModel):
    """LSTM with a bidirectional encoder (Schuster and Paliwal 1997); the forecaster is unidirectional."""

    name: ClassVar[str] = "bilstm"

    def _encoder(self, hidden: int, layers: int) -> Layer:
        return partial(BidirectionalLSTM, hidden, hidden, layers=layers)


class GruModel(SeriesModel):
    """Gated recurrent unit (Cho et al. 2014, arXiv:1406.1078)."""

    name: ClassVar[str] = "gru"

    def _layer(self, hidden: int, layers: int) -> Layer:
        return partial(GRU, hidden, hidden, layers=layers)


class AttentionLstm(SeriesModel):
    """LSTM with attention from leads to the states of all frames (Luong et al. 2015)."""

    name: ClassVar[str] = "attention-lstm"
    config_class: ClassVar[type[NetworkConfig]] = AttentionConfig
    _config: AttentionConfig

    def _attention(self) -> nn.Module:
        return TemporalAttention(self._config.hidden, kind=self._config.attention)


class AttentionGru(AttentionLstm):
    """GRU with attention from leads to the states of all frames (Luong et al. 2015)."""

    name: ClassVar[str] = "attention-gru"

    def _layer(self, hidden: int, layers: int) -> Layer:
        return partial(GRU, hidden, hidden, layers=layers)
