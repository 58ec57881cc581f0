import pytest
import torch

from models.catalogue import build
from models.errors import ModelError
from models.networks.sample import Locations
from models.zoo.graph import GraphConfig, GraphCore


@pytest.fixture
def core(sizes_of, awake):
    return awake(GraphCore(sizes_of(locations=5), GraphConfig(hidden=4, layers=2)))


def locations(count):
    return Locations(torch.rand(count, 2), torch.zeros(count, 0), torch.arange(count).clamp(max=4), None)


def test_values_reach_other_locations_and_other_issue_times_do_not_hear(core):
    where, past, ahead = locations(5), torch.randn(4, 2, 5, 4), torch.randn(3, 2, 1, 4)
    changed = past.clone()
    changed[-1, 0, 3] += 3
    moved = (core(changed, ahead, where) - core(past, ahead, where)).abs().amax(-1) > 1e-6
    assert moved[:, 0].all()
    assert not moved[:, 1].any()


def test_blocks_never_look_ahead(core):
    past = torch.randn(4, 2, 5, 4)
    graphs = [torch.eye(5), torch.full((5, 5), 0.2)]
    later = past.clone()
    later[3] += 1
    for block in core.blocks:
        torch.testing.assert_close(block(later, graphs)[:3], block(past, graphs)[:3])


def test_a_station_far_from_all_others_hears_them_by_the_learnt_graph_alone(core):
    where = locations(5)._replace(position=torch.tensor([[0.0, 0.0], [0.0, 0.1], [0.1, 0.0], [0.1, 0.1], [9.0, 9.0]]))
    far = core.distance(where.position)[4]
    torch.testing.assert_close(far, torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0]))
    assert (core.adaptive(where.position - 0.5, where.row)[4] > 0).all()


def test_more_stations_than_it_was_built_for_are_forecast(core):
    found = core(torch.randn(4, 2, 9, 4), torch.randn(3, 2, 1, 4), locations(9))
    assert found.shape == (3, 2, 9, 4)


def test_so_many_locations_that_pairs_do_not_fit_are_refused(task_of):
    with pytest.raises(ModelError, match="graph-conv: supports at most 2048 locations, found 2116"):
        build("graph-conv", task_of(stations=46 * 46, grid=(46, 46)), base="climatology")
