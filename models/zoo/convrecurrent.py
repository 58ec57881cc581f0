"""Convolutional recurrent networks over fields, without attention."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import nn

from models.layers.convgru import ConvGRU
from models.layers.convlstm import ConvLSTM
from models.networks.model_config import FieldNetworkConfig, NetworkConfig
from models.networks.neural import NeuralModel
from models.networks.sample import Dimensions
from models.networks.trunks import FieldTrunk
from models.zoo.recurrent import Recurrent


@dataclass(frozen=True, kw_only=True)
class ConvRecurrentConfig(FieldNetworkConfig):
    """Size of a convolutional recurrent network.

    Attributes:
        checkpointing: whether the backward pass recomputes activations to save memory.
    """

    checkpointing: bool = False


@dataclass(frozen=True, kw_only=True)
class ConvLstmConfig(ConvRecurrentConfig):
    """Size of a ConvLSTM.

    Attributes:
        peepholes: whether gates read the cell.
    """

    peepholes: bool = False


class ConvRecurrent(NeuralModel):
    """An encoder-forecaster over fields; subclasses define its layers."""

    config_class: ClassVar[type[NetworkConfig]] = ConvRecurrentConfig
    _config: ConvRecurrentConfig

    def trunk(self, dims: Dimensions) -> tuple[nn.Module, int]:
        """Return one recurrent stack over the frames and one over the leads."""
        config = self._config
        layer = partial(self._layer(), layers=config.layers, kernel=config.kernel, checkpointing=config.checkpointing)
        core = Recurrent(partial(layer, config.hidden, config.hidden))
        return FieldTrunk(core, dims, hidden=config.hidden, size=config.size, patch=config.patch), config.hidden

    @abstractmethod
    def _layer(self) -> Callable[..., nn.Module]:
        """Return the class, or a factory, of recurrent stacks."""


class ConvLstmModel(ConvRecurrent):
    """ConvLSTM encoder-forecaster (Shi et al. 2015, arXiv:1506.04214)."""

    name: ClassVar[str] = "convlstm"
    config_class: ClassVar[type[NetworkConfig]] = ConvLstmConfig
    _config: ConvLstmConfig

    def _layer(self) -> Callable[..., nn.Module]:
        return partial(ConvLSTM, peepholes=self._config.peepholes)


class ConvGruModel(ConvRecurrent):
    """ConvGRU encoder-forecaster (Ballas et al. 2016, arXiv:1511.06432)."""

    name: ClassVar[str] = "convgru"

    def _layer(self) -> Callable[..., nn.Module]:
        return ConvGRU
