"""A ConvLSTM encoder-forecaster over a grid or over stations, with optional attention."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import nn

from models.errors import ModelError
from models.layers.attention import TEMPORAL, Temporal, TemporalAttention
from models.layers.convlstm import ConvLSTM
from models.layers.spatial_memory import SpatialMemory
from models.networks.model_config import FieldNetworkConfig, NetworkConfig
from models.networks.neural import NeuralModel
from models.networks.sample import Dimensions
from models.networks.trunks import FieldTrunk
from models.search_space import Choice, SearchSpace
from models.task import Task
from models.zoo.recurrent import Recurrent


@dataclass(frozen=True, kw_only=True)
class AttentionConvLstmConfig(FieldNetworkConfig):
    """Size of an attention ConvLSTM.

    Attributes:
        temporal: kind of attention from each lead to the encoder states of its cell. Off by default: over three seeds
            it did no better than without, on daily wind and, together with `spatial`, on moving digits.
        spatial: whether cells attend to each other through a memory. Off by default for the same reason; on hourly
            counts it was better with one seed and worse with another.
        peepholes: whether gates read the cell.
        checkpointing: whether the backward pass recomputes activations to save memory.
    """

    frames: int = 6
    temporal: Temporal = "none"
    spatial: bool = False
    peepholes: bool = False
    checkpointing: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.temporal not in TEMPORAL:
            raise ModelError(f"temporal must be one of {list(TEMPORAL)}, found {self.temporal!r}")

    @classmethod
    def search_space(cls, task: Task) -> SearchSpace:
        """Return the fields worth a search."""
        attention = {"temporal": Choice(("none", "multi-head")), "spatial": Choice((False, True))}
        return {**super().search_space(task), **attention, "peepholes": Choice((False, True))}


class AttentionConvLSTM(NeuralModel):
    """ConvLSTM encoder-forecaster (Shi et al. 2015) over a grid, or over a latent grid of stations.

    Stations are mapped to the latent grid and back by set convolution (Gordon et al. 2020). Temporal attention has the
    scores of Bahdanau et al. (2015) or Vaswani et al. (2017), and its context is added to the output as in Luong et al.
    (2015). Spatial attention is the memory of Lin et al. (2020), applied to the final encoder states instead of inside
    the recurrence.
    """

    name: ClassVar[str] = "attention-convlstm"
    config_class: ClassVar[type[NetworkConfig]] = AttentionConvLstmConfig
    _config: AttentionConvLstmConfig

    def trunk(self, dims: Dimensions) -> tuple[nn.Module, int]:
        """Return one ConvLSTM over the frames and one over the leads."""
        config = self._config
        layer = partial(
            ConvLSTM,
            config.hidden,
            config.hidden,
            layers=config.layers,
            kernel=config.kernel,
            peepholes=config.peepholes,
            checkpointing=config.checkpointing,
        )
        memory = SpatialMemory(config.hidden) if config.spatial else None
        attention = None if config.temporal == "none" else TemporalAttention(config.hidden, kind=config.temporal)
        core = Recurrent(layer, memory=memory, attention=attention)
        return FieldTrunk(core, dims, hidden=config.hidden, size=config.size, patch=config.patch), config.hidden
