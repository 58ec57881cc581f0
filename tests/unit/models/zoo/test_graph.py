from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from models.catalogue import build
from models.errors import ModelError
from models.networks.sample import Locations
from models.task import Task
from models.zoo.graph import GraphConfig, GraphCore


@pytest.fixture
def core(sizes_of: Any, perturbed: Callable[..., Any]) -> Any:
    return perturbed(GraphCore(sizes_of(locations=5), GraphConfig(hidden=4, layers=2)))


def locations(count: Any) -> Any:
    return Locations(torch.rand(count, 2), torch.zeros(count, 0), torch.arange(count).clamp(max=4), None)


def test_values_reach_other_locations_but_not_other_issue_times(core: Any) -> None:
    where, past, ahead = locations(5), torch.randn(4, 2, 5, 4), torch.randn(3, 2, 1, 4)
    changed = past.clone()
    changed[-1, 0, 3] += 3
    moved = (core(changed, ahead, where) - core(past, ahead, where)).abs().amax(-1) > 1e-6
    assert moved[:, 0].all()
    assert not moved[:, 1].any()


def test_blocks_are_causal(core: Any) -> None:
    past = torch.randn(4, 2, 5, 4)
    graphs = [torch.eye(5), torch.full((5, 5), 0.2)]
    later = past.clone()
    later[3] += 1
    for block in core.blocks:
        torch.testing.assert_close(block(later, graphs)[:3], block(past, graphs)[:3])


def test_a_remote_station_gets_values_only_through_the_learnt_graph(core: Any) -> None:
    where = locations(5)._replace(position=torch.tensor([[0.0, 0.0], [0.0, 0.1], [0.1, 0.0], [0.1, 0.1], [9.0, 9.0]]))
    far = core.distance(where.position)[4]
    torch.testing.assert_close(far, torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0]))
    assert (core.adaptive(where.position - 0.5, where.row)[4] > 0).all()


def test_more_stations_than_it_was_built_for_are_forecast(core: Any) -> None:
    found = core(torch.randn(4, 2, 9, 4), torch.randn(3, 2, 1, 4), locations(9))
    assert found.shape == (3, 2, 9, 4)


def test_too_many_locations_are_refused(task_of: Callable[..., Task]) -> None:
    with pytest.raises(ModelError, match="graph-conv: supports at most 2048 locations, found 2116"):
        build("graph-conv", task_of(stations=46 * 46, grid=(46, 46)), base="climatology")
