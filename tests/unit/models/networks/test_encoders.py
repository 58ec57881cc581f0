from __future__ import annotations

from typing import Any

import pytest
import torch

from models.networks.encoders import GridDecoder, GridEncoder, SetDecoder, SetEncoder
from models.networks.sample import Locations


def locations(grid: Any = None, stations: Any = 5) -> Any:
    count = grid[0] * grid[1] if grid else stations
    return Locations(torch.rand(count, 2), torch.zeros(count, 0), torch.arange(count), grid)


@pytest.mark.parametrize(("patch", "grid", "field"), [(1, (3, 5), (3, 5)), (2, (4, 6), (2, 3)), (4, (7, 9), (2, 3))])
def test_a_grid_is_encoded_in_patches_and_decoded_to_its_cells(patch: Any, grid: Any, field: Any) -> None:
    where = locations(grid)
    inside = GridEncoder(2, 4, patch=patch)(
        torch.randn(3, 2, grid[0] * grid[1]), torch.ones(3, 2, grid[0] * grid[1]), where
    )
    assert inside.shape == (3, 4, *field)
    assert GridDecoder(4, patch=patch)(inside, where).shape == (3, 4, grid[0] * grid[1])


def test_patches_of_one_cell_keep_the_order_of_cells() -> None:
    """With patch 1 the field is the grid, row by row."""
    where, encoder = locations((2, 3)), GridEncoder(1, 4, patch=1)
    assert encoder.lift.bias is not None
    with torch.no_grad():
        encoder.lift.weight.zero_()
        encoder.lift.bias.zero_()
        encoder.lift.weight[0, 0] = 1
    values = torch.arange(6.0).view(1, 1, 6)
    field = encoder(values, torch.ones_like(values), where)
    torch.testing.assert_close(field[0, 0], torch.tensor([[0.0, 1, 2], [3, 4, 5]]))
    torch.testing.assert_close(GridDecoder(4, patch=1)(field, where)[0, 0], values[0, 0])


def test_the_number_of_stations_may_vary() -> None:
    encoder, decoder = SetEncoder(2, 4, size=3), SetDecoder(size=3)
    for stations in (1, 9):
        where = locations(stations=stations)
        field = encoder(torch.randn(2, 2, stations), torch.ones(2, 2, stations), where)
        assert field.shape == (2, 4, 3, 3)
        assert decoder(field, where).shape == (2, 4, stations)


def test_a_grid_encoder_refuses_stations() -> None:
    with pytest.raises(ValueError, match="stations"):
        GridEncoder(1, 4, patch=1)(torch.zeros(1, 1, 5), torch.ones(1, 1, 5), locations())
