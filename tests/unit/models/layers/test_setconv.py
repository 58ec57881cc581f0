from __future__ import annotations

import numpy as np
import torch

from models.layers.setconv import FromGrid, ToGrid, unit_square


def test_set_convolution_ignores_missing_stations_and_their_order():
    torch.manual_seed(0)
    to_grid, positions = ToGrid(4), torch.rand(5, 2)
    values, known = torch.randn(2, 1, 5), torch.ones(2, 1, 5)
    known[:, :, 3] = 0
    values = values * known
    keep = torch.tensor([4, 0, 2, 1])
    some = to_grid(values[..., keep], known[..., keep], positions[keep])
    torch.testing.assert_close(to_grid(values, known, positions), some)


def test_constant_field_survives_the_way_to_any_position():
    torch.manual_seed(0)
    there = FromGrid(6)(torch.full((1, 2, 6, 6), 3.0), torch.rand(11, 2))
    torch.testing.assert_close(there, torch.full((1, 2, 11), 3.0), rtol=0.01, atol=0)
    # The grid may be finer than the one that the length scale was made for.
    assert FromGrid(6)(torch.ones(1, 2, 9, 9), torch.rand(3, 2)).shape == (1, 2, 3)


def test_unit_square_keeps_proportions_across_the_date_line():
    square = unit_square((179.0, -179.0), (0.0, 0.5))
    np.testing.assert_allclose(square[1] - square[0], [0.8, 0.2], atol=1e-3)
    np.testing.assert_allclose(unit_square((5.0,), (50.0,)), [[0.5, 0.5]])
