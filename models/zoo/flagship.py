"""The flagship: a ConvLSTM encoder-forecaster over a grid or over stations, with attention by choice."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import nn

from models.errors import ModelError
from models.layers.attention import TEMPORAL, Temporal, TemporalAttention
from models.layers.convlstm import ConvLSTM
from models.layers.spatial_memory import SpatialMemory
from models.networks.neural import NeuralModel
from models.networks.sample import Sizes
from models.networks.shape import FieldShape, Shape
from models.networks.trunks import OverFields
from models.zoo.recurrent import Recurrent


@dataclass(frozen=True, kw_only=True)
class FlagshipShape(FieldShape):
    """Size and parts of the flagship.

    Attributes:
        temporal: attention from each lead to the encoder states of its cell. Off: over three seeds it tied with its
            control on daily wind and, with `spatial`, on moving digits.
        spatial: whether cells attend to each other through a memory. Off: as above; on hourly counts it won with one
            seed and lost with another.
        peepholes: whether gates see the cell.
        checkpointing: whether activations are computed again in the backward pass instead of kept.
    """

    frames: int = 6
    temporal: Temporal = "none"
    spatial: bool = False
    peepholes: bool = False
    checkpointing: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.temporal not in TEMPORAL:
            raise ModelError(f"temporal {self.temporal!r} is none of {list(TEMPORAL)}")


class AttentionConvLSTM(NeuralModel):
    """Encoder and forecaster of Shi et al. (2015), over the grid itself or over a latent grid of the stations.

    The stations enter and leave by set convolution (Gordon et al. 2020). Attention over time has the scores of Bahdanau
    et al. (2015) or Vaswani et al. (2017) and joins the output as in Luong et al. (2015). Attention over space is the
    memory of Lin et al. (2020), over the states of the finished encoder; theirs is inside the recurrence.
    """

    name: ClassVar[str] = "attention-convlstm"
    shape: ClassVar[type[Shape]] = FlagshipShape
    _shape: FlagshipShape

    def trunk(self, sizes: Sizes) -> tuple[nn.Module, int]:
        """A ConvLSTM each to read and to forecast."""
        shape = self._shape
        layer = partial(
            ConvLSTM,
            shape.hidden,
            shape.hidden,
            layers=shape.layers,
            kernel=shape.kernel,
            peepholes=shape.peepholes,
            checkpointing=shape.checkpointing,
        )
        memory = SpatialMemory(shape.hidden) if shape.spatial else None
        attention = None if shape.temporal == "none" else TemporalAttention(shape.hidden, kind=shape.temporal)
        core = Recurrent(layer, memory=memory, attention=attention)
        return OverFields(core, sizes, hidden=shape.hidden, size=shape.size, patch=shape.patch), shape.hidden
