from __future__ import annotations

from typing import Any

import pytest
import torch

from models.layers.spatial_transformer import SpatialTransformer


@pytest.fixture
def layer() -> Any:
    torch.manual_seed(0)
    return SpatialTransformer(2, 3)


def point(layer: Any, *matrix: Any) -> None:
    with torch.no_grad():
        layer.affine.bias.copy_(torch.tensor(matrix))


@pytest.mark.parametrize("size", [(5, 5), (1, 1), (7, 12)])
def test_it_starts_as_the_identity_whatever_the_size(layer: Any, size: Any) -> None:
    field, seen = torch.randn(3, 4, *size), torch.randn(3, 2, *size)
    assert torch.equal(layer.transform(seen), torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]).expand(3, -1, -1))
    torch.testing.assert_close(layer(field, seen), field, rtol=1e-5, atol=1e-5)


def test_a_shift_by_one_cell_reads_the_neighbour_and_at_the_edge_the_edge(layer: Any) -> None:
    # The field is 4 cells or 2 units wide: one cell is half a unit.
    point(layer, 1.0, 0.0, 0.5, 0.0, 1.0, 0.0)
    field = torch.tensor([1.0, 2.0, 3.0, 4.0]).expand(1, 1, 4, 4)
    expected = torch.tensor([2.0, 3.0, 4.0, 4.0]).expand(1, 1, 4, 4)
    torch.testing.assert_close(layer(field, torch.zeros(1, 2, 4, 4)), expected)


def test_a_half_turn_reverses_both_axes(layer: Any) -> None:
    point(layer, -1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
    field = torch.randn(1, 2, 3, 5)
    torch.testing.assert_close(layer(field, torch.zeros(1, 2, 3, 5)), field.flip(2, 3))


def test_each_sample_has_a_transform_of_its_own(layer: Any) -> None:
    torch.nn.init.normal_(layer.affine.weight)
    field, seen = torch.randn(3, 4, 6, 5), torch.randn(3, 2, 6, 5)
    found = layer(field, seen)
    torch.testing.assert_close(found[1:2], layer(field[1:2], seen[1:2]))
    assert not torch.allclose(layer.transform(seen)[0], layer.transform(seen)[1])


def test_every_parameter_learns_once_the_last_layer_has_moved(layer: Any) -> None:
    torch.nn.init.normal_(layer.affine.weight)
    layer(torch.randn(3, 4, 6, 5), torch.randn(3, 2, 6, 5)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in layer.parameters())


def test_it_learns_a_shift() -> None:
    torch.manual_seed(0)
    layer = SpatialTransformer(1, 4)
    smooth = torch.nn.functional.interpolate(torch.randn(16, 1, 4, 4), size=(12, 12), mode="bicubic")
    target = smooth.roll(1, dims=3)[..., 1:-1]
    optimiser = torch.optim.Adam(layer.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        loss = (layer(smooth, smooth)[..., 1:-1] - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]
