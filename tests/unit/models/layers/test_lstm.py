"""LSTM against its equations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from models.layers.lstm import LSTM, PeepholeLSTM
from tests.bfloat16 import needs_bfloat16
from tests.unit.models.layers import cell_reference as reference
from tests.unit.models.layers.cell_reference import assert_alike, everything, randomised

KINDS = [{"peepholes": peepholes, "bidirectional": both} for peepholes in (False, True) for both in (False, True)]


def made(**options: Any) -> LSTM:
    return randomised(LSTM, 3, 4, **options)


def series(steps: int = 5, n: int = 2) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(steps, n, 3)


def random_states(count: int) -> list[Any]:
    torch.manual_seed(2)
    return [tuple(torch.randn(2, 2, 4).unbind(0)) for _ in range(count)]


def parameters(network: LSTM, layer: int, way: int) -> tuple[Any, ...]:
    """Weights of x and h, biases, and peepholes, by gate in the order i, f, o, c."""
    if network.torch_lstm is None:
        cell = network.cells[layer * network.ways + way]
        assert isinstance(cell, PeepholeLSTM)
        wx, wh = reference.by_gate(cell.project_in.weight, 4), reference.by_gate(cell.recurrent.weight, 4)
        return wx, wh, reference.by_gate(cell.project_in.bias, 4), list(cell.peepholes)
    name = f"l{layer}" + "_reverse" * way
    found = [getattr(network.torch_lstm, f"{what}_{name}") for what in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    parts = [[reference.by_gate(part, 4)[gate] for gate in (0, 1, 3, 2)] for part in found]
    biases = [one + other for one, other in zip(parts[2], parts[3], strict=True)]
    return parts[0], parts[1], biases, [0.0] * 3


def plain(network: LSTM, x: Tensor, states: Any) -> tuple[Tensor, list[Any]]:
    """The equations, with the parameters of a network of float64."""
    ends = []
    layers = network.torch_lstm.num_layers if network.torch_lstm is not None else len(network.cells) // network.ways
    for layer in range(layers):
        outputs = []
        for way in range(network.ways):
            zero = x.new_zeros(x.shape[1], 4)
            h, c = (zero, zero) if states is None else states[layer * network.ways + way]
            steps = x.flip(0) if way else x
            output, c = reference.lstm(reference.multiply, steps, h, c, *parameters(network, layer, way))
            ends.append((output[-1], c))
            outputs.append(output.flip(0) if way else output)
        x = torch.cat(outputs, dim=-1)
    return x, ends


def ours(network: LSTM, x: Tensor, states: Any) -> tuple[Tensor, Any]:
    output, ends = network(x, states)
    return output, ends


@pytest.mark.parametrize("given", [False, True], ids=["from zero", "from states"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", KINDS, ids=["plain", "both ways", "peepholes", "peepholes both ways"])
def test_outputs_and_gradients_equal_the_equations(kind: dict[str, bool], layers: int, given: bool) -> None:
    network = made(layers=layers, **kind)
    states = random_states(layers * network.ways) if given else None
    found = everything(ours, network, series(), states, torch.float32)
    assert_alike(found, everything(plain, network, series(), states, torch.float64))


@pytest.mark.parametrize("kind", KINDS, ids=["plain", "both ways", "peepholes", "peepholes both ways"])
def test_the_forget_gate_starts_at_one_in_all(kind: dict[str, bool]) -> None:
    network = LSTM(3, 4, layers=2, **kind)
    for layer in range(2):
        for way in range(network.ways):
            biases = parameters(network, layer, way)[2]
            assert [part.tolist() for part in biases] == [[0.0] * 4, [1.0] * 4, [0.0] * 4, [0.0] * 4]


@pytest.mark.parametrize("kind", KINDS, ids=["plain", "both ways", "peepholes", "peepholes both ways"])
def test_every_parameter_receives_a_gradient(kind: dict[str, bool]) -> None:
    torch.manual_seed(0)
    network = LSTM(3, 4, layers=2, **kind)
    network(series())[0].square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.norm() > 0 for parameter in network.parameters())


@pytest.mark.parametrize("peepholes", [False, True])
def test_a_sequence_in_two_pieces_equals_one(peepholes: bool) -> None:
    network = made(layers=2, peepholes=peepholes)
    whole, last = network(series())
    first, between = network(series()[:2])
    second, end = network(series()[2:], between)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(end, last)


def test_the_backward_way_knows_the_end_and_the_forward_way_does_not() -> None:
    network, x = made(bidirectional=True, peepholes=True), series()
    changed = x.clone()
    changed[-1] += 1
    before, after = network(x)[0], network(changed)[0]
    torch.testing.assert_close(before[:-1, :, :4], after[:-1, :, :4], rtol=0, atol=0)
    assert (before[0, :, 4:] != after[0, :, 4:]).all()


@pytest.mark.parametrize("peepholes", [False, True])
def test_it_survives_saving_and_another_type(peepholes: bool) -> None:
    network, again = made(peepholes=peepholes), LSTM(3, 4, peepholes=peepholes)
    again.load_state_dict(load(save(network.state_dict())))
    torch.testing.assert_close(again(series()), network(series()))
    assert network.double()(series().double())[0].dtype == torch.float64


@needs_bfloat16
@pytest.mark.parametrize("peepholes", [False, True])
def test_bfloat16_is_close(peepholes: bool) -> None:
    network = made(layers=2, peepholes=peepholes)
    with torch.autocast("cpu", torch.bfloat16):
        found = network(series())[0]
    right = network(series())[0]
    assert (found - right).norm() < 0.03 * right.norm()
