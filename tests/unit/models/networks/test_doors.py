from __future__ import annotations

import pytest
import torch

from models.networks.doors import GridIn, GridOut, SetIn, SetOut
from models.networks.sample import Places


def places(grid=None, stations=5):
    count = grid[0] * grid[1] if grid else stations
    return Places(torch.rand(count, 2), torch.zeros(count, 0), torch.arange(count), grid)


@pytest.mark.parametrize(("patch", "grid", "field"), [(1, (3, 5), (3, 5)), (2, (4, 6), (2, 3)), (4, (7, 9), (2, 3))])
def test_grid_goes_in_as_patches_and_comes_back_whole(patch, grid, field):
    where = places(grid)
    inside = GridIn(2, 4, patch=patch)(torch.randn(3, 2, grid[0] * grid[1]), torch.ones(3, 2, grid[0] * grid[1]), where)
    assert inside.shape == (3, 4, *field)
    assert GridOut(4, patch=patch)(inside, where).shape == (3, 4, grid[0] * grid[1])


def test_cells_keep_their_place():
    """A field as fine as the grid is the grid, row by row."""
    where, door = places((2, 3)), GridIn(1, 4, patch=1)
    with torch.no_grad():
        door.lift.weight.zero_()
        door.lift.bias.zero_()
        door.lift.weight[0, 0] = 1
    values = torch.arange(6.0).view(1, 1, 6)
    inside = door(values, torch.ones_like(values), where)
    torch.testing.assert_close(inside[0, 0], torch.tensor([[0.0, 1, 2], [3, 4, 5]]))
    torch.testing.assert_close(GridOut(4, patch=1)(inside, where)[0, 0], values[0, 0])


def test_any_number_of_stations_goes_in_and_out():
    enter, leave = SetIn(2, 4, size=3), SetOut(size=3)
    for stations in (1, 9):
        where = places(stations=stations)
        inside = enter(torch.randn(2, 2, stations), torch.ones(2, 2, stations), where)
        assert inside.shape == (2, 4, 3, 3)
        assert leave(inside, where).shape == (2, 4, stations)


def test_a_grid_door_refuses_stations():
    with pytest.raises(ValueError, match="stations"):
        GridIn(1, 4, patch=1)(torch.zeros(1, 1, 5), torch.ones(1, 1, 5), places())
