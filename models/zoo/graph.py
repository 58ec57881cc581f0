"""Graph convolution over locations, on a graph of distances and a learnt graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.errors import ModelError
from models.layers.graph_conv import AdaptiveAdjacency, DistanceAdjacency, GraphConv
from models.layers.temporal import CausalConv, FramesToLeads
from models.networks.model_config import NetworkConfig
from models.networks.neural import NeuralModel
from models.networks.sample import Dimensions, Locations, Sample
from models.networks.trunks import SeriesTrunk, series_features

# Memory grows with the square of this number.
MAX_LOCATIONS = 2048


@dataclass(frozen=True, kw_only=True)
class GraphConfig(NetworkConfig):
    """Size of the graph network.

    Attributes:
        steps: number of diffusion steps in a layer.
        embedding: width of the node embeddings of the learnt graph.
    """

    hidden: int = 32
    layers: int = 2
    steps: int = 2
    embedding: int = 10


class GraphConvModel(NeuralModel):
    """Graph WaveNet (Wu et al. 2019, arXiv:1906.00121) over all locations.

    Gated causal convolutions in time alternate with diffusion over a graph of distances and a learnt one. The learnt
    graph is a function of position, static fields and an embedding of each location that starts at zero, so stations
    can be added later.
    """

    name: ClassVar[str] = "graph-conv"
    config_class: ClassVar[type[NetworkConfig]] = GraphConfig
    _config: GraphConfig

    def trunk(self, dims: Dimensions) -> tuple[nn.Module, int]:
        """Return blocks of gated convolution in time and diffusion over the graphs.

        Raises:
            ModelError: there are too many locations.
        """
        if dims.locations > MAX_LOCATIONS:
            raise ModelError(
                f"{self.name}: supports at most {MAX_LOCATIONS} locations, found {dims.locations}; use a model over"
                " fields, such as convlstm or simvp"
            )
        return GraphTrunk(GraphCore(dims, self._config), dims, hidden=self._config.hidden), self._config.hidden


class GraphTrunk(SeriesTrunk):
    """A `SeriesTrunk` whose core gets the series of all locations together, and their positions."""

    def forward(self, sample: Sample) -> Tensor:
        """Return features (n, lead, location, hidden)."""
        past = self.encoder(series_features(sample)).transpose(0, 1)
        output: Tensor = self.core(past, self.future(sample), sample.locations)
        return output.transpose(0, 1)


class GraphCore(nn.Module):
    """Graph convolutions from past (frame, n, location, hidden) and future (lead, n, location or 1, hidden) inputs.

    The output is (lead, n, location, hidden).

    Args:
        dims: axis lengths of the task.
        config: size of the network.
    """

    def __init__(self, dims: Dimensions, config: GraphConfig) -> None:
        super().__init__()
        self.distance = DistanceAdjacency()
        self.adaptive = AdaptiveAdjacency(2 + dims.static, dims.locations, width=config.embedding)
        self.blocks = nn.ModuleList(
            GraphBlock(config.hidden, dilation=2**layer, steps=config.steps) for layer in range(config.layers)
        )
        self.leads = FramesToLeads(dims.frames, dims.leads)

    def forward(self, past: Tensor, future: Tensor, locations: Locations) -> Tensor:
        """Return the features of all leads."""
        known = torch.cat([locations.position - 0.5, locations.static], dim=1)
        graphs = [self.distance(locations.position), self.adaptive(known, locations.row)]
        for block in self.blocks:
            past = block(past, graphs)
        output: Tensor = self.leads(past) + future
        return output


class GraphBlock(nn.Module):
    """A gated causal convolution in time, then diffusion over the graphs, with a residual connection.

    Args:
        hidden: channels.
        dilation: dilation of the convolution in frames.
        steps: number of diffusion steps.
    """

    def __init__(self, hidden: int, *, dilation: int, steps: int) -> None:
        super().__init__()
        self.along_time = CausalConv(hidden, 2 * hidden, dilation=dilation)
        self.over_graphs = GraphConv(hidden, graphs=2, steps=steps)
        self.norm = nn.LayerNorm(hidden)

    def forward(self, x: Tensor, graphs: list[Tensor]) -> Tensor:
        """From x (frame, n, location, hidden) to the same shape."""
        value, gate = self.along_time(x.flatten(1, 2)).view(*x.shape[:3], -1).chunk(2, dim=-1)
        output: Tensor = self.norm(x + self.over_graphs(torch.tanh(value) * torch.sigmoid(gate), graphs))
        return output
