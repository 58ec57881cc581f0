"""Convolutional GRU against its equations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from models.errors import ModelError
from models.layers.convgru import ConvGRU, ConvGRULayer
from tests.unit.models.layers import cell_reference as reference
from tests.unit.models.layers.cell_reference import assert_alike, everything, fields, randomised


def made(**options: Any) -> ConvGRU:
    return randomised(ConvGRU, 3, 4, **options)


def random_states(layers: int) -> list[Tensor]:
    torch.manual_seed(2)
    return list(torch.randn(layers, 2, 4, 7, 5).unbind(0))


def plain(network: ConvGRU, x: Tensor, states: Any) -> tuple[Tensor, list[Tensor]]:
    """The equations, with the parameters of a network of float64."""
    ends = []
    for number, (cell, norm) in enumerate(zip(network.cells, network.norms, strict=True)):
        if isinstance(norm, torch.nn.GroupNorm):
            x = reference.normalise(x, norm.weight, norm.bias)
        assert isinstance(cell, ConvGRULayer)
        assert cell.gates.bias is not None
        assert cell.candidate.bias is not None
        weights = [*reference.by_gate(cell.gates.weight, 2), cell.candidate.weight]
        biases = [*reference.shaped(cell.gates.bias, 2), *reference.shaped(cell.candidate.bias, 1)]
        wx, wh = ([part[:, s] for part in weights] for s in (slice(x.shape[2]), slice(x.shape[2], None)))
        h = x.new_zeros(x.shape[1], len(biases[0]), *x.shape[3:]) if states is None else states[number]
        x = reference.gru(reference.convolve, x, h, wx, wh, biases)
        ends.append(x[-1])
    return x, ends


def ours(network: ConvGRU, x: Tensor, states: Any) -> tuple[Tensor, Any]:
    output, ends = network(x, states)
    return output, ends


@pytest.mark.parametrize("given", [False, True], ids=["from zero", "from states"])
@pytest.mark.parametrize(
    "options",
    [{}, {"layers": 2}, {"kernel": 1}, {"kernel": 5}, {"norm": False, "layers": 2}],
    ids=["one layer", "two layers", "kernel 1", "kernel 5", "no norm"],
)
def test_outputs_and_gradients_equal_the_equations(options: dict[str, Any], given: bool) -> None:
    network = made(**options)
    states = random_states(len(network.cells)) if given else None
    found = everything(ours, network, fields(), states, torch.float32)
    assert_alike(found, everything(plain, network, fields(), states, torch.float64))


def test_an_input_expanded_over_the_grid_equals_a_full_one() -> None:
    network, alike = made(layers=2), fields(height=1, width=1)
    whole = alike.expand(-1, -1, -1, 7, 5)
    torch.testing.assert_close(network(whole), network(whole.contiguous()))


def test_batch_and_grid_change_after_construction_and_channels_stay_last() -> None:
    network = made(layers=2)
    for n, height, width in ((1, 4, 9), (5, 1, 1)):
        output, ends = network(fields(3, n, 3, height, width))
        assert output.shape == (3, n, 4, height, width)
        assert ends[1].shape == (n, 4, height, width)
        assert output.movedim(2, -1).is_contiguous()


def test_a_sequence_in_two_pieces_equals_one() -> None:
    network = made(layers=2)
    whole, last = network(fields())
    first, between = network(fields()[:1])
    second, end = network(fields()[1:], between)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(end, last)


def test_an_update_gate_that_is_shut_keeps_the_state() -> None:
    network = made()
    layer = network.cells[0]
    assert isinstance(layer, ConvGRULayer)
    assert layer.gates.bias is not None
    layer.gates.bias.data[4:] = 100.0
    state = random_states(1)
    torch.testing.assert_close(network(fields(), state)[1], state)


def test_every_parameter_receives_a_gradient() -> None:
    torch.manual_seed(0)
    network = ConvGRU(3, 4, layers=2)
    network(fields())[0].square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.norm() > 0 for parameter in network.parameters())


def test_bfloat16_is_close_and_keeps_the_state_in_single_precision() -> None:
    network = made(layers=2)

    def half(network: ConvGRU, x: Tensor, states: Any) -> tuple[Tensor, Any]:
        with torch.autocast("cpu", torch.bfloat16):
            return ours(network, x, states)

    found = everything(half, network, fields(), random_states(2), torch.float32)
    assert found["output 1"].dtype == torch.float32
    assert_alike(found, everything(plain, network, fields(), random_states(2), torch.float64), tolerance=0.06)


def test_checkpointing_gives_the_same_gradients() -> None:
    found, right = (
        everything(ours, made(layers=2, checkpointing=on), fields(5), random_states(2), torch.float32)
        for on in (True, False)
    )
    assert_alike(found, {name: part.double() for name, part in right.items()}, tolerance=1e-6)


def test_an_even_kernel_has_no_middle() -> None:
    with pytest.raises(ModelError, match="must be odd, found 2"):
        ConvGRU(3, 4, kernel=2)
