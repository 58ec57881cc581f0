"""GRU against its equations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from models.layers.gru import GRU, GRULayer
from tests.unit.models.layers import cell_reference as reference
from tests.unit.models.layers.cell_reference import assert_alike, everything, randomised


def made(layers: int = 1) -> GRU:
    return randomised(GRU, 3, 4, layers=layers)


def series(steps: int = 5, n: int = 2) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(steps, n, 3)


def random_states(count: int) -> list[Tensor]:
    torch.manual_seed(2)
    return list(torch.randn(count, 2, 4).unbind(0))


def plain(network: GRU, x: Tensor, states: Any) -> tuple[Tensor, list[Tensor]]:
    """The equations, with the parameters of a network of float64."""
    ends = []
    for layer, cell in enumerate(network.cells):
        assert isinstance(cell, GRULayer)
        wx, biases = reference.by_gate(cell.project_in.weight, 3), reference.by_gate(cell.project_in.bias, 3)
        wh = [*reference.by_gate(cell.gates.weight, 2), cell.candidate.weight]
        h = x.new_zeros(x.shape[1], 4) if states is None else states[layer]
        x = reference.gru(reference.multiply, x, h, wx, wh, biases)
        ends.append(x[-1])
    return x, ends


def ours(network: GRU, x: Tensor, states: Any) -> tuple[Tensor, Any]:
    output, ends = network(x, states)
    return output, ends


@pytest.mark.parametrize("given", [False, True], ids=["from zero", "from states"])
@pytest.mark.parametrize("layers", [1, 2])
def test_outputs_and_gradients_equal_the_equations(layers: int, given: bool) -> None:
    network, states = made(layers), random_states(layers) if given else None
    found = everything(ours, network, series(), states, torch.float32)
    assert_alike(found, everything(plain, network, series(), states, torch.float64))


def test_it_is_the_gru_of_cho_and_not_that_of_torch() -> None:
    network, library = made(), torch.nn.GRU(3, 4)
    cell = network.cells[0]
    assert isinstance(cell, GRULayer)
    library.load_state_dict(
        {
            "weight_ih_l0": cell.project_in.weight,
            "bias_ih_l0": cell.project_in.bias,
            "weight_hh_l0": torch.cat([cell.gates.weight, cell.candidate.weight]),
            "bias_hh_l0": torch.zeros(12),
        }
    )
    states = random_states(1)
    ours, theirs = network(series(1), states)[0], library(series(1), states[0][None])[0]
    assert (ours - theirs).abs().max() > 1e-3
    # From zero there is nothing to reset, and both are the same.
    torch.testing.assert_close(network(series(1))[0], library(series(1))[0])


def test_every_parameter_receives_a_gradient() -> None:
    torch.manual_seed(0)
    network = GRU(3, 4, layers=2)
    network(series())[0].square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.norm() > 0 for parameter in network.parameters())


def test_a_sequence_in_two_pieces_equals_one() -> None:
    network = made(2)
    whole, last = network(series())
    first, between = network(series()[:2])
    second, end = network(series()[2:], between)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(end, last)


def test_bfloat16_is_close_and_keeps_the_state_in_single_precision() -> None:
    network = made(2)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = network(series())
    right = network(series())[0]
    assert found.dtype == torch.float32
    assert (found - right).norm() < 0.03 * right.norm()
