"""Convolutional recurrent networks over fields, without attention: the controls of the flagship."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import nn

from models.layers.convgru import ConvGRU
from models.layers.convlstm import ConvLSTM
from models.networks.neural import NeuralModel
from models.networks.sample import Sizes
from models.networks.shape import FieldShape, Shape
from models.networks.trunks import OverFields
from models.zoo.recurrent import Recurrent


@dataclass(frozen=True, kw_only=True)
class ConvRecurrentShape(FieldShape):
    """Size of a convolutional recurrent network.

    Attributes:
        checkpointing: whether activations are computed again in the backward pass instead of kept.
    """

    checkpointing: bool = False


@dataclass(frozen=True, kw_only=True)
class ConvLstmShape(ConvRecurrentShape):
    """Size of a ConvLSTM.

    Attributes:
        peepholes: whether gates see the cell.
    """

    peepholes: bool = False


class ConvRecurrent(NeuralModel):
    """An encoder-forecaster over fields. Subclasses say of which layers."""

    shape: ClassVar[type[Shape]] = ConvRecurrentShape
    _shape: ConvRecurrentShape

    def trunk(self, sizes: Sizes) -> tuple[nn.Module, int]:
        """One stack to read the frames, one to step through the leads."""
        shape = self._shape
        layer = partial(self._layer(), layers=shape.layers, kernel=shape.kernel, checkpointing=shape.checkpointing)
        core = Recurrent(partial(layer, shape.hidden, shape.hidden))
        return OverFields(core, sizes, hidden=shape.hidden, size=shape.size, patch=shape.patch), shape.hidden

    @abstractmethod
    def _layer(self) -> Callable[..., nn.Module]:
        """Makes a recurrent stack."""


class ConvLstmModel(ConvRecurrent):
    """Encoder and forecaster of Shi et al. (2015, arXiv:1506.04214), as many layers as are asked for."""

    name: ClassVar[str] = "convlstm"
    shape: ClassVar[type[Shape]] = ConvLstmShape
    _shape: ConvLstmShape

    def _layer(self) -> Callable[..., nn.Module]:
        return partial(ConvLSTM, peepholes=self._shape.peepholes)


class ConvGruModel(ConvRecurrent):
    """The same of gated recurrent units (Ballas et al. 2016, arXiv:1511.06432)."""

    name: ClassVar[str] = "convgru"

    def _layer(self) -> Callable[..., nn.Module]:
        return ConvGRU
