from __future__ import annotations

import numpy as np
import torch

from models.layers.setconv import FromGrid, ToGrid, unit_square


def test_set_convolution_ignores_missing_stations_and_their_order() -> None:
    torch.manual_seed(0)
    to_grid, positions = ToGrid(4), torch.rand(5, 2)
    values, known = torch.randn(2, 1, 5), torch.ones(2, 1, 5)
    known[:, :, 3] = 0
    values = values * known
    keep = torch.tensor([4, 0, 2, 1])
    some = to_grid(values[..., keep], known[..., keep], positions[keep])
    torch.testing.assert_close(to_grid(values, known, positions), some)


def test_constant_field_survives_the_way_to_any_position() -> None:
    torch.manual_seed(0)
    there = FromGrid(6)(torch.full((1, 2, 6, 6), 3.0), torch.rand(11, 2))
    torch.testing.assert_close(there, torch.full((1, 2, 11), 3.0), rtol=0.01, atol=0)
    # The grid may be finer than the one that the length scale was made for.
    assert FromGrid(6)(torch.ones(1, 2, 9, 9), torch.rand(3, 2)).shape == (1, 2, 3)


def test_unit_square_keeps_proportions_across_the_date_line() -> None:
    square = unit_square((179.0, -179.0), (0.0, 0.5))
    np.testing.assert_allclose(square[1] - square[0], [0.8, 0.2], atol=1e-3)
    np.testing.assert_allclose(unit_square((5.0,), (50.0,)), [[0.5, 0.5]])


def test_positions_do_not_depend_on_the_order_of_stations() -> None:
    longitude, latitude = np.array([0.0, 170.0, -170.0, 90.0, 200.0]), np.array([10.0, 20.0, 30.0, 40.0, 50.0])
    square = unit_square(tuple(longitude), tuple(latitude))
    for order in ([1, 0, 2, 4, 3], [4, 3, 2, 1, 0], [2, 4, 0, 3, 1]):
        moved = unit_square(tuple(longitude[order]), tuple(latitude[order]))
        np.testing.assert_allclose(moved, square[order], atol=1e-6)


def test_rows_of_a_global_grid_stand_above_each_other() -> None:
    east, north = np.meshgrid(np.arange(0, 360, 30.0), np.array([60.0, 20, -20, -60]))
    square = unit_square(tuple(east.ravel()), tuple(north.ravel())).reshape(4, 12, 2)
    np.testing.assert_allclose(square[..., 0], square[:1, :, 0].repeat(4, axis=0), atol=1e-6)
    assert (np.diff(square[:, :, 1], axis=0) < 0).all()
    np.testing.assert_allclose(square[0, :, 0].min(), 0.1, atol=1e-3)
