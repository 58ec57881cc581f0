import math

import pytest
import torch

from models.layers.graph_conv import AdaptiveAdjacency, DistanceAdjacency, GraphConv
from tests.unit.models.gradients import gradient_of


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_distance_weights_by_hand() -> None:
    # Two places one length scale apart: exp(-1/2) against the weight 1 of the place itself.
    found = DistanceAdjacency(0.1)(torch.tensor([[0.2, 0.5], [0.3, 0.5]]))
    near = math.exp(-0.5) / (1 + math.exp(-0.5))
    torch.testing.assert_close(found, torch.tensor([[1 - near, near], [near, 1 - near]]))


def test_rows_of_both_graphs_sum_to_one() -> None:
    positions = torch.rand(7, 2)
    for weights in (
        DistanceAdjacency()(positions),
        AdaptiveAdjacency(2, 7)(positions, torch.arange(7)),
        AdaptiveAdjacency(2, 3)(positions, torch.full((7,), -1)),
    ):
        assert (weights >= 0).all()
        torch.testing.assert_close(weights.sum(1), torch.ones(7))


def test_the_learnt_graph_is_that_of_the_paper_where_nothing_is_known_of_nodes() -> None:
    layer = AdaptiveAdjacency(1, 4, width=3)
    torch.nn.init.normal_(layer.node_embedding)
    found = layer(torch.zeros(4, 1), torch.arange(4))
    source, target = (
        layer.node_embedding[0] + layer.source(torch.zeros(1)),
        layer.node_embedding[1] + layer.target(torch.zeros(1)),
    )
    torch.testing.assert_close(found, torch.softmax(torch.relu(source @ target.T), dim=1))


def test_permuted_nodes_permute_the_learnt_graph() -> None:
    layer = AdaptiveAdjacency(3, 5)
    torch.nn.init.normal_(layer.node_embedding)
    known, index, order = torch.randn(5, 3), torch.arange(5), torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(layer(known[order], index[order]), layer(known, index)[order][:, order])


def test_a_node_unseen_in_training_has_no_embedding() -> None:
    layer = AdaptiveAdjacency(2, 2)
    known = torch.randn(3, 2)
    before = layer(known, torch.tensor([0, 1, -1]))
    torch.nn.init.normal_(layer.node_embedding)
    after = layer(known, torch.tensor([-1, -1, -1]))
    torch.testing.assert_close(after, before)


def test_every_parameter_of_the_learnt_graph_receives_a_gradient() -> None:
    layer = AdaptiveAdjacency(2, 6)
    (layer(torch.randn(6, 2), torch.arange(6)) * torch.randn(6, 6)).sum().backward()
    assert all(gradient_of(parameter).abs().sum() > 0 for parameter in layer.parameters())


def test_equals_loops_over_nodes_and_steps() -> None:
    layer = GraphConv(2, graphs=2, steps=3).double()
    x = torch.randn(4, 5, 2, dtype=torch.float64)
    graphs = [torch.rand(5, 5, dtype=torch.float64) for _ in range(2)]
    parts = [x]
    for weights in graphs:
        come = x
        for _ in range(3):
            gone, come = come, torch.zeros_like(come)
            for to in range(5):
                for source in range(5):
                    come[:, to] += weights[to, source] * gone[:, source]
            parts.append(come)
    torch.testing.assert_close(layer(x, graphs), layer.mix(torch.cat(parts, dim=-1)))


def test_values_come_as_far_as_there_are_steps() -> None:
    chain = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    for steps, reached in ((1, False), (2, True)):
        layer, x = GraphConv(1, graphs=1, steps=steps), torch.zeros(1, 3, 1)
        far = x.clone()
        far[:, 2] = 1
        assert bool((layer(far, [chain]) - layer(x, [chain]))[0, 0] != 0) == reached
