"""Graph convolution over the locations, along the graph of their distances and along one that is learnt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.errors import ModelError
from models.layers.graph_conv import AdaptiveAdjacency, DistanceAdjacency, GraphConv
from models.layers.temporal import CausalConv, FramesToLeads
from models.networks.neural import NeuralModel
from models.networks.sample import Places, Sample, Sizes
from models.networks.shape import Shape
from models.networks.trunks import OverSeries, series_features

# Weights of every pair of locations are held at once.
MOST_LOCATIONS = 2048


@dataclass(frozen=True, kw_only=True)
class GraphShape(Shape):
    """Size of the graph network.

    Attributes:
        steps: how far a location's values come in one layer, in edges.
        embedding: width of the embeddings that the learnt graph is made of.
    """

    hidden: int = 32
    layers: int = 2
    steps: int = 2
    embedding: int = 10


class GraphConvModel(NeuralModel):
    """Graph WaveNet (Wu et al. 2019, arXiv:1906.00121), over all locations at once.

    Gated causal convolutions along time take turns with diffusion over two graphs: one of distances, one learnt. The
    learnt graph is made of position and static fields, with a part of each location's own that starts at zero, so a
    station may join late.
    """

    name: ClassVar[str] = "graph-conv"
    shape: ClassVar[type[Shape]] = GraphShape
    _shape: GraphShape

    def trunk(self, sizes: Sizes) -> tuple[nn.Module, int]:
        """Blocks of gated convolution along time and diffusion over the graphs.

        Raises:
            ModelError: there are too many locations to hold weights of every pair.
        """
        if sizes.locations > MOST_LOCATIONS:
            raise ModelError(
                f"{self.name}: {sizes.locations} locations, want at most {MOST_LOCATIONS}: it holds weights of every"
                " pair; take a model over fields, such as convlstm or simvp"
            )
        return OverGraph(GraphCore(sizes, self._shape), sizes, hidden=self._shape.hidden), self._shape.hidden


class OverGraph(OverSeries):
    """The series of all locations with where they lie: the core may let them see each other."""

    def forward(self, sample: Sample) -> Tensor:
        """Features (n, lead, location, hidden)."""
        past = self.past(series_features(sample)).transpose(0, 1)
        ahead = self.ahead(sample)[:, :, None]
        if self.covariates is not None:
            told = torch.cat([sample.covariates, sample.said], dim=2).permute(1, 0, 3, 2)
            ahead = ahead + self.covariates(told)
        found: Tensor = self.core(past, ahead, sample.places)
        return found.transpose(0, 1)


class GraphCore(nn.Module):
    """From past (frame, n, location, hidden) and ahead (lead, n, location or 1, hidden) to (lead, n, location, hidden).

    Args:
        sizes: lengths of the fixed axes.
        shape: its size.
    """

    def __init__(self, sizes: Sizes, shape: GraphShape) -> None:
        super().__init__()
        self.distance = DistanceAdjacency()
        self.adaptive = AdaptiveAdjacency(2 + sizes.static, sizes.locations, width=shape.embedding)
        self.blocks = nn.ModuleList(
            GraphBlock(shape.hidden, dilation=2**layer, steps=shape.steps) for layer in range(shape.layers)
        )
        self.leads = FramesToLeads(sizes.frames, sizes.leads)

    def forward(self, past: Tensor, ahead: Tensor, places: Places) -> Tensor:
        """Features of all leads."""
        known = torch.cat([places.position - 0.5, places.static], dim=1)
        graphs = [self.distance(places.position), self.adaptive(known, places.row)]
        for block in self.blocks:
            past = block(past, graphs)
        found: Tensor = self.leads(past) + ahead
        return found


class GraphBlock(nn.Module):
    """A gated causal convolution along time, then diffusion over the graphs, then a link past both.

    Args:
        hidden: channels.
        dilation: distance between the frames that are seen.
        steps: how far values come.
    """

    def __init__(self, hidden: int, *, dilation: int, steps: int) -> None:
        super().__init__()
        self.along_time = CausalConv(hidden, 2 * hidden, dilation=dilation)
        self.over_graphs = GraphConv(hidden, graphs=2, steps=steps)
        self.norm = nn.LayerNorm(hidden)

    def forward(self, x: Tensor, graphs: list[Tensor]) -> Tensor:
        """From x (frame, n, location, hidden) to as many."""
        value, gate = self.along_time(x.flatten(1, 2)).view(*x.shape[:3], -1).chunk(2, dim=-1)
        found: Tensor = self.norm(x + self.over_graphs(torch.tanh(value) * torch.sigmoid(gate), graphs))
        return found
