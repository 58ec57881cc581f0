"""Convolutional LSTM against its equations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from models.errors import ModelError
from models.layers import convlstm
from models.layers.convlstm import ConvLSTM, ConvLSTMLayer
from tests.unit.models.gradients import gradient_of
from tests.unit.models.layers import cell_reference as reference
from tests.unit.models.layers.cell_reference import assert_alike, everything, fields, randomised


def made(**options: Any) -> ConvLSTM:
    return randomised(ConvLSTM, 3, 4, **options)


def random_states(layers: int, n: int = 2, hidden: int = 4, height: int = 7, width: int = 5) -> list[Any]:
    torch.manual_seed(2)
    return [tuple(torch.randn(2, n, hidden, height, width).unbind(0)) for _ in range(layers)]


def first_layer(network: ConvLSTM) -> ConvLSTMLayer:
    layer = network.cells[0]
    assert isinstance(layer, ConvLSTMLayer)
    return layer


def plain(network: ConvLSTM, x: Tensor, states: Any) -> tuple[Tensor, list[Any]]:
    """The equations, with the parameters of a network of float64."""
    ends = []
    for number, (cell, norm) in enumerate(zip(network.cells, network.norms, strict=True)):
        if isinstance(norm, torch.nn.GroupNorm):
            x = reference.normalise(x, norm.weight, norm.bias)
        assert isinstance(cell, ConvLSTMLayer)
        hidden = len(cell.bias) // 4
        zero = x.new_zeros(x.shape[1], hidden, *x.shape[3:])
        h, c = (zero, zero) if states is None else states[number]
        weights = reference.by_gate(cell.gates.weight, 4)
        wx, wh = ([part[:, s] for part in weights] for s in (slice(x.shape[2]), slice(x.shape[2], None)))
        peep = [0.0] * 3 if cell.peepholes is None else list(cell.peepholes)
        x, c = reference.lstm(reference.convolve, x, h, c, wx, wh, reference.shaped(cell.bias, 4), peep)
        ends.append((x[-1], c))
    return x, ends


def ours(network: ConvLSTM, x: Tensor, states: Any) -> tuple[Tensor, Any]:
    output, ends = network(x, states)
    return output, ends


@pytest.mark.parametrize("given", [False, True], ids=["from zero", "from states"])
@pytest.mark.parametrize("peepholes", [False, True], ids=["plain", "peepholes"])
@pytest.mark.parametrize(
    "options",
    [{}, {"layers": 3}, {"kernel": 1}, {"kernel": 5, "layers": 2}, {"norm": False, "layers": 2}],
    ids=["one layer", "three layers", "kernel 1", "kernel 5", "no norm"],
)
def test_outputs_and_gradients_equal_the_equations(options: dict[str, Any], peepholes: bool, given: bool) -> None:
    network = made(peepholes=peepholes, **options)
    states = random_states(len(network.cells)) if given else None
    found = everything(ours, network, fields(), states, torch.float32)
    assert_alike(found, everything(plain, network, fields(), states, torch.float64))


@pytest.mark.parametrize("peepholes", [False, True], ids=["plain", "peepholes"])
def test_what_is_compiled_equals_the_equations(monkeypatch: pytest.MonkeyPatch, peepholes: bool) -> None:
    network = made(layers=2, peepholes=peepholes)
    right = everything(plain, network, fields(), random_states(2), torch.float64)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    monkeypatch.setattr(convlstm, "FastSequence", None)
    assert_alike(everything(ours, network, fields(), random_states(2), torch.float32), right)


@pytest.mark.parametrize("norm", [False, True])
def test_an_input_expanded_over_the_grid_equals_a_full_one(norm: bool) -> None:
    network = made(layers=2, norm=norm)
    alike = fields(height=1, width=1)
    narrow = everything(
        lambda network, x, states: ours(network, x.expand(-1, -1, -1, 7, 5), states),
        network, alike, random_states(2), torch.float32,
    )  # fmt: skip
    full = everything(
        lambda network, x, states: plain(network, x + x.new_zeros(7, 5), states),
        network, alike, random_states(2), torch.float64,
    )  # fmt: skip
    assert_alike(narrow, full)


def test_fields_larger_than_a_block_equal_the_equations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "models.layers.convlstm_sequence._BLOCK", 16
    )  # 70 cells, in blocks of 1 and a cell for each thread
    network = made(peepholes=True)
    found = everything(ours, network, fields(), random_states(1), torch.float32)
    assert_alike(found, everything(plain, network, fields(), random_states(1), torch.float64))


def test_data_that_wants_no_gradient_changes_no_other_gradient() -> None:
    network = made(layers=2, norm=False)
    right = everything(ours, network, fields(), None, torch.float32)
    network.zero_grad()
    output, ends = network(fields())
    torch.manual_seed(3)
    wanted = [output, *(part for state in ends for part in state)]
    sum((part * torch.randn(part.shape, dtype=torch.float64).float()).sum() for part in wanted).backward()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, right[name])


@pytest.mark.parametrize("which", [0, 1], ids=["hidden", "cell"])
def test_a_loss_on_the_last_state_alone_reaches_everything(which: int) -> None:
    network = made(peepholes=True)
    x = fields().requires_grad_()
    network(x)[1][0][which].square().sum().backward()
    double = made(peepholes=True).double()
    same = fields().double().requires_grad_()
    plain(double, same, None)[1][0][which].square().sum().backward()
    assert_alike({"x": gradient_of(x)}, {"x": gradient_of(same)})
    for one, other in zip(network.parameters(), double.parameters(), strict=True):
        if which == 0 or gradient_of(other).norm() > 0:
            assert_alike({"parameter": gradient_of(one)}, {"parameter": gradient_of(other)})


def test_batch_and_grid_change_after_construction() -> None:
    network = made(layers=2)
    for n, height, width in ((1, 4, 9), (5, 1, 1), (2, 8, 3)):
        output, ends = network(fields(3, n, 3, height, width))
        assert output.shape == (3, n, 4, height, width)
        assert [part.shape for part in ends[1]] == [(n, 4, height, width)] * 2


def test_channels_stay_last_in_memory() -> None:
    output, ends = made(layers=2)(fields())
    assert output.movedim(2, -1).is_contiguous()
    assert all(part.is_contiguous(memory_format=torch.channels_last) for part in ends[0])


def test_a_sequence_in_two_pieces_equals_one() -> None:
    network = made(layers=2, peepholes=True)
    whole, last = network(fields())
    first, between = network(fields()[:1])
    second, end = network(fields()[1:], between)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(end, last)


@pytest.mark.parametrize("options", [{}, {"layers": 2, "peepholes": True}])
def test_every_parameter_receives_a_gradient(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = ConvLSTM(3, 4, **options)
    network(fields())[0].square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.norm() > 0 for parameter in network.parameters())


def test_the_forget_gate_starts_at_one_and_nothing_else_does() -> None:
    assert first_layer(ConvLSTM(3, 4)).bias.tolist() == [0] * 4 + [1] * 4 + [0] * 8
    # With all weights at zero nothing enters: the cell only forgets, by sigmoid(1) a step.
    network = ConvLSTM(3, 4)
    first_layer(network).gates.weight.data.zero_()
    one = torch.ones(2, 4, 7, 5)
    _, [(_, cell)] = network(fields(1), [(one, one)])
    torch.testing.assert_close(cell, torch.full_like(cell, 0.7310586))


def test_peepholes_and_weights_survive_saving() -> None:
    network = made(layers=2, peepholes=True)
    again = ConvLSTM(3, 4, layers=2, peepholes=True)
    again.load_state_dict(load(save(network.state_dict())))
    torch.testing.assert_close(again(fields()), network(fields()))
    assert network.double().cells[0].peepholes.dtype == torch.float64


def test_inference_mode_gives_the_same_and_keeps_nothing() -> None:
    network = made(layers=2)
    with torch.inference_mode():
        output, _ = network(fields())
    assert not output.requires_grad
    torch.testing.assert_close(output, network(fields())[0], rtol=0, atol=0)


@pytest.mark.parametrize("peepholes", [False, True], ids=["plain", "peepholes"])
def test_bfloat16_is_close_and_keeps_the_cell_in_single_precision(peepholes: bool) -> None:
    network = made(layers=2, peepholes=peepholes)

    def half(network: ConvLSTM, x: Tensor, states: Any) -> tuple[Tensor, Any]:
        with torch.autocast("cpu", torch.bfloat16):
            return ours(network, x, states)

    found = everything(half, network, fields(), random_states(2), torch.float32)
    assert found["output 0"].dtype == torch.bfloat16
    assert found["output 2"].dtype == torch.float32
    assert found["cells.0.gates.weight"].dtype == torch.float32
    assert_alike(found, everything(plain, network, fields(), random_states(2), torch.float64), tolerance=0.06)


@pytest.mark.parametrize("steps", [1, 2, 5, 10])
def test_checkpointing_gives_the_same_gradients(steps: int) -> None:
    found, right = (
        everything(
            ours, made(layers=2, peepholes=True, checkpointing=on), fields(steps), random_states(2), torch.float32
        )
        for on in (True, False)
    )
    assert_alike(found, {name: part.double() for name, part in right.items()}, tolerance=1e-6)


def test_checkpointing_remembers_less() -> None:
    def kept(checkpointing: bool) -> int:
        sizes: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            sizes[tensor.data_ptr()] = tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            output, _ = made(checkpointing=checkpointing)(fields(16))
            del output
        return sum(sizes.values())

    assert kept(True) < kept(False) / 2


def test_a_second_backward_pass_is_refused() -> None:
    output, _ = made()(fields())
    output.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


def test_an_even_kernel_has_no_middle() -> None:
    with pytest.raises(ModelError, match="must be odd, found 4"):
        ConvLSTM(3, 4, kernel=4)


def test_dynamo_traces_it_in_one_piece() -> None:
    network = made(layers=2, peepholes=True)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    x = fields(2)
    torch.testing.assert_close(compiled(x), network(x))
    compiled(x)[0].sum().backward()
    assert network.cells[0].peepholes.grad is not None
