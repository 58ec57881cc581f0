"""Diffusion over graphs of distance and learnt graphs (Wu et al. 2019, Graph WaveNet, arXiv:1906.00121)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.layers.setconv import Kernel


class DistanceAdjacency(nn.Module):
    """Gaussian weights of distance with a learnt length scale; rows sum to 1.

    Args:
        scale: initial length scale, relative to the unit square of positions.
    """

    def __init__(self, scale: float = 0.2) -> None:
        super().__init__()
        self.kernel = Kernel(scale)

    def forward(self, positions: Tensor) -> Tensor:
        """Return weights (node, node) of positions (node, 2)."""
        weights: Tensor = self.kernel(positions, positions)
        return weights / weights.sum(1, keepdim=True)


class AdaptiveAdjacency(nn.Module):
    """A learnt adjacency, `softmax(relu(E1 E2'))`, whose rows sum to 1.

    In the paper E1 and E2 are free parameters of each node. Here they are functions of node features plus an embedding
    for nodes seen in training, which starts at zero, so the graph exists for any number of nodes in any order.

    Args:
        features: number of features of a node, such as its position.
        nodes: number of nodes with an embedding.
        width: width of the embeddings.
    """

    def __init__(self, features: int, nodes: int, *, width: int = 10) -> None:
        super().__init__()
        self.source = nn.Sequential(nn.Linear(features, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        # A bias would shift all scores of a row equally.
        self.target = nn.Sequential(nn.Linear(features, 2 * width), nn.GELU(), nn.Linear(2 * width, width, bias=False))
        self.node_embedding = nn.Parameter(torch.zeros(2, nodes, width))

    def forward(self, features: Tensor, index: Tensor) -> Tensor:
        """Return weights (node, node), of features (node, features) and the embedding row of each node, -1 for none."""
        embedding = torch.where((index >= 0)[:, None], self.node_embedding[:, index.clamp(min=0)], 0.0)
        source, target = self.source(features) + embedding[0], self.target(features) + embedding[1]
        scores: Tensor = (source @ target.T).relu()
        # In bfloat16 a softmax over many nodes would not sum to 1.
        return scores.softmax(dim=1, dtype=torch.promote_types(scores.dtype, torch.float32))


class GraphConv(nn.Module):
    """Diffusion convolution, `z = W [x, A x, A A x, ...]`, over all graphs A.

    Args:
        channels: input and output channels.
        graphs: number of graphs.
        steps: number of diffusion steps.
    """

    def __init__(self, channels: int, *, graphs: int, steps: int = 2) -> None:
        super().__init__()
        self.steps = steps
        self.mix = nn.Linear(channels * (1 + graphs * steps), channels)

    def forward(self, x: Tensor, graphs: list[Tensor]) -> Tensor:
        """From x (..., node, channels) and the weights (node, node) of each graph to the shape of x."""
        parts = [x]
        for weights in graphs:
            diffused = x
            for _ in range(self.steps):
                diffused = weights.to(diffused.dtype) @ diffused
                parts.append(diffused)
        output: Tensor = self.mix(torch.cat(parts, dim=-1))
        return output
