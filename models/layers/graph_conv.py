"""Diffusion over a graph that is partly given and partly learnt (Wu et al. 2019, Graph WaveNet, arXiv:1906.00121)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.layers.setconv import Kernel


class DistanceAdjacency(nn.Module):
    """How near two places lie: Gaussian weights with a length scale that is learnt, rows summing to 1.

    Args:
        scale: length scale at the start, in units of the square that positions lie in.
    """

    def __init__(self, scale: float = 0.2) -> None:
        super().__init__()
        self.kernel = Kernel(scale)

    def forward(self, positions: Tensor) -> Tensor:
        """Weights (node, node) of positions (node, 2)."""
        weights: Tensor = self.kernel(positions, positions)
        return weights / weights.sum(1, keepdim=True)


class AdaptiveAdjacency(nn.Module):
    """Which places tell of which, learnt: `softmax(relu(E1 E2'))`, rows summing to 1.

    The embeddings E1 and E2 of the paper are free numbers of each node. Here they are made of what is known of the
    node, plus free numbers for nodes that training saw, which start at zero: so any number of nodes has a graph, in
    any order.

    Args:
        features: numbers known of a node, such as its position.
        nodes: how many nodes have numbers of their own.
        width: width of the embeddings.
    """

    def __init__(self, features: int, nodes: int, *, width: int = 10) -> None:
        super().__init__()
        self.source = nn.Sequential(nn.Linear(features, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        # A bias would move all scores of a row alike.
        self.target = nn.Sequential(nn.Linear(features, 2 * width), nn.GELU(), nn.Linear(2 * width, width, bias=False))
        self.own = nn.Parameter(torch.zeros(2, nodes, width))

    def forward(self, features: Tensor, index: Tensor) -> Tensor:
        """Weights (node, node), of features (node, features) and the row of each in `own`, -1 for none."""
        own = torch.where((index >= 0)[:, None], self.own[:, index.clamp(min=0)], 0.0)
        source, target = self.source(features) + own[0], self.target(features) + own[1]
        scores: Tensor = (source @ target.T).relu()
        # In bf16 a softmax over many nodes would not sum to 1.
        return scores.softmax(dim=1, dtype=torch.promote_types(scores.dtype, torch.float32))


class GraphConv(nn.Module):
    """Mixes what a node holds with what comes to it over graphs, in one step and in several.

    `z = W [x, A x, A A x, ...]` over all graphs A.

    Args:
        channels: channels that enter and leave.
        graphs: how many graphs there are.
        steps: how far it comes.
    """

    def __init__(self, channels: int, *, graphs: int, steps: int = 2) -> None:
        super().__init__()
        self.steps = steps
        self.mix = nn.Linear(channels * (1 + graphs * steps), channels)

    def forward(self, x: Tensor, graphs: list[Tensor]) -> Tensor:
        """From x (..., node, channels), by weights (node, node) of each graph, to as many."""
        parts = [x]
        for weights in graphs:
            come = x
            for _ in range(self.steps):
                come = weights.to(come.dtype) @ come
                parts.append(come)
        found: Tensor = self.mix(torch.cat(parts, dim=-1))
        return found
