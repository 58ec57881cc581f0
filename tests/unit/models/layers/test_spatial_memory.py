"""The spatial self-attention memory against loops written from the equations of Lin et al. (2020)."""

from __future__ import annotations

from math import ceil, floor
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import Tensor, nn

from models.errors import ModelError
from models.layers.spatial_memory import SpatialMemory
from tests.unit.models.gradients import gradient_of
from tests.unit.models.layers.largest import Largest


@pytest.fixture(autouse=True)
def seeded() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def opened(channels: int, **options: Any) -> SpatialMemory:
    """A memory with its gate open."""
    memory = SpatialMemory(channels, **options)
    nn.init.normal_(memory.gate)
    return memory


def loop(weights: Any, states: Any, rows: Any, columns: Any) -> Any:
    """The equations, one token at a time, in float64, on a grid of rows x columns tokens."""

    def linear(name: Any, vector: Any) -> Any:
        product = weights[f"{name}.weight"] @ vector
        return product + weights[f"{name}.bias"] if f"{name}.bias" in weights else product

    def attend(query: Any, keys: Any, values: Any) -> Any:
        powers = [(query @ key / len(query) ** 0.5).exp() for key in keys]
        return sum(power * value for power, value in zip(powers, values, strict=True)) / sum(powers)

    _, n, channels, height, width = states.shape
    memory = [[torch.zeros(channels, dtype=torch.float64)] * (rows * columns) for _ in range(n)]
    outputs = []
    for hidden in states:
        fields = []
        for b in range(n):
            tokens = [
                hidden[b, :, span(r, rows, height), span(c, columns, width)].mean((1, 2))
                for r in range(rows)
                for c in range(columns)
            ]
            near = [[linear(f"near_{what}", token) for token in tokens] for what in ("key", "value")]
            past = [[linear(f"past_{what}", token) for token in memory[b]] for what in ("key", "value")]
            read = []
            for index, token in enumerate(tokens):
                query = linear("query", token)
                fused = linear("fuse", torch.cat([attend(query, *near), attend(query, *past)]))
                i, g, o = linear("gates", torch.cat([fused, token])).split(channels)
                i, o = 1 / (1 + (-i).exp()), 1 / (1 + (-o).exp())
                memory[b][index] = (1 - i) * memory[b][index] + i * g.tanh()
                read.append(o * memory[b][index])
            grid = torch.stack(read, dim=1).view(channels, rows, columns)
            fields.append(hidden[b] + weights["gate"] * bilinear(grid, height, width))
        outputs.append(torch.stack(fields))
    return torch.stack(outputs)


def span(index: Any, cells: Any, size: Any) -> Any:
    return slice(floor(index * size / cells), ceil((index + 1) * size / cells))


def bilinear(grid: Any, height: Any, width: Any) -> Any:
    def ends(index: Any, size: Any, cells: Any) -> Any:
        at = min(max((index + 0.5) * cells / size - 0.5, 0), cells - 1)
        low = min(floor(at), cells - 1)
        return low, min(low + 1, cells - 1), at - low

    field = []
    for row in range(height):
        top, bottom, down = ends(row, height, grid.shape[1])
        for column in range(width):
            left, right, along = ends(column, width, grid.shape[2])
            upper = (1 - along) * grid[:, top, left] + along * grid[:, top, right]
            lower = (1 - along) * grid[:, bottom, left] + along * grid[:, bottom, right]
            field.append((1 - down) * upper + down * lower)
    return torch.stack(field, dim=1).view(-1, height, width)


def relative(one: Tensor, other: Tensor) -> float:
    away: float = ((one.double() - other).norm() / other.norm()).item()
    return away


@pytest.mark.parametrize(
    ("most", "rows", "columns"), [(256, 5, 6), (9, 2, 4), (1, 1, 1)], ids=["each cell", "pooled", "one token"]
)
def test_outputs_and_gradients_equal_the_equations(most: Any, rows: Any, columns: Any) -> None:
    memory = opened(4, most=most)
    states = torch.randn(3, 2, 4, 5, 6, requires_grad=True)
    probe = torch.randn(3, 2, 4, 5, 6)
    exact = {name: value.detach().double().requires_grad_() for name, value in memory.named_parameters()}
    double = states.detach().double().requires_grad_()
    expected = loop(exact, double, rows, columns)
    found = memory(states)
    assert relative(found - states, expected - double) < 1e-5
    (found * probe).sum().backward()
    (expected * probe).sum().backward()
    assert relative(gradient_of(states) - probe, gradient_of(double) - probe) < 1e-5
    for name, parameter in memory.named_parameters():
        if most == 1 and name in {"query.weight", "query.bias", "near_key.weight", "past_key.weight"}:
            continue  # With one token there is nothing to choose.
        assert relative(gradient_of(parameter), gradient_of(exact[name])) < 1e-5, name


def test_one_cell_worked_by_hand() -> None:
    # Every matrix 1 and no biases, one channel. A single token finds itself: Zh = h, Zm = m, Z = h + m.
    memory = SpatialMemory(1)
    for name, parameter in memory.named_parameters():
        nn.init.constant_(parameter, float("bias" not in name))
    h = torch.full((1, 1, 1, 1), 0.5)
    (first, kept), one = memory.step(h), torch.tensor(1.0)
    held = one.sigmoid() * one.tanh()
    torch.testing.assert_close(kept.squeeze(), held)
    torch.testing.assert_close(first.squeeze(), 0.5 + one.sigmoid() * held)
    second, kept = memory.step(h, kept)
    before = 0.5 + held + 0.5
    held = (1 - before.sigmoid()) * held + before.sigmoid() * before.tanh()
    torch.testing.assert_close(kept.squeeze(), held)
    torch.testing.assert_close(second.squeeze(), 0.5 + before.sigmoid() * held)


@pytest.mark.parametrize("most", [256, 9])
def test_fresh_memory_passes_its_input_on_and_only_its_gate_learns(most: Any) -> None:
    memory, states = SpatialMemory(4, most=most), torch.randn(3, 2, 4, 5, 6)
    found = memory(states)
    assert torch.equal(found, states)
    found.square().sum().backward()
    learning = {name for name, parameter in memory.named_parameters() if gradient_of(parameter).abs().sum() > 0}
    assert learning == {"gate"}
    assert (gradient_of(memory.gate) != 0).flatten().tolist() == [True] * 4


@pytest.mark.parametrize("most", [256, 9])
def test_every_parameter_receives_a_gradient_once_the_gate_has_moved(most: Any) -> None:
    memory = opened(4, most=most)
    memory(torch.randn(3, 2, 4, 5, 6)).square().sum().backward()
    for name, parameter in memory.named_parameters():
        assert gradient_of(parameter).norm() > 1e-5, name


@pytest.mark.parametrize("most", [256, 9])
def test_steps_equal_the_sequence_and_an_empty_memory_is_zeros(most: Any) -> None:
    memory, states = opened(4, most=most), torch.randn(4, 2, 4, 5, 6)
    whole = memory(states)
    kept: Tensor | None = None
    for hidden, expected in zip(states, whole, strict=True):
        found, kept = memory.step(hidden, kept)
        torch.testing.assert_close(found, expected)
    assert kept is not None
    for one, other in zip(memory.step(states[0]), memory.step(states[0], torch.zeros_like(kept)), strict=True):
        torch.testing.assert_close(one, other)


def test_far_cells_inform_each_other_and_samples_do_not() -> None:
    memory, states = opened(4), torch.randn(2, 2, 4, 9, 9)
    before = memory(states) - states
    states[0, 1, :, 0, 0] += 1
    changed = ((memory(states) - states) != before).any(dim=2)
    assert changed[:, 1, 8, 8].all()
    assert not changed[:, 0].any()


def test_permuting_cells_permutes_the_result() -> None:
    memory, states = opened(4), torch.randn(3, 2, 4, 5, 6)
    order = torch.randperm(30)
    moved = states.flatten(3)[..., order].view(states.shape)
    torch.testing.assert_close(memory(moved).flatten(3), memory(states).flatten(3)[..., order])


@settings(max_examples=40, deadline=None)
@example(most=256, height=64, width=64)
@example(most=256, height=1000, width=1)
@example(most=256, height=1, width=1000)
@given(most=st.integers(1, 40), height=st.integers(1, 24), width=st.integers(1, 24))
def test_any_grid_has_at_most_so_many_tokens_of_about_its_proportions(most: Any, height: Any, width: Any) -> None:
    memory, hidden = opened(2, most=most), torch.randn(1, 2, height, width)
    found, kept = memory.step(hidden)
    assert found.shape == hidden.shape
    rows, columns = kept.shape[-2:]
    assert rows * columns <= most
    assert rows <= height
    assert columns <= width
    if height * width <= most:
        assert (rows, columns) == (height, width)
    elif height == width:
        assert rows <= columns
        assert (rows + 1) ** 2 > most
    _, kept = memory.step(hidden, kept)
    assert kept.shape[-2:] == (rows, columns)


@pytest.mark.parametrize("most", [256, 7])
def test_alike_cells_stay_alike(most: Any) -> None:
    # Neither pooling nor the way back makes edges.
    memory = opened(4, most=most)
    states = torch.randn(3, 2, 4, 1, 1).expand(-1, -1, -1, 5, 6)
    found = memory(states)
    torch.testing.assert_close(found, found[..., :1, :1].expand_as(found))


def test_attention_weights_are_never_materialised() -> None:
    memory, states = opened(8, most=1024), torch.randn(2, 1, 8, 32, 32)
    with Largest() as largest:
        memory(states).sum().backward()
    assert 0 < largest.numbers < 1024 * 1024 / 16


@pytest.mark.parametrize("most", [256, 9])
def test_runs_in_bf16_in_inference_mode_and_as_one_graph(most: Any) -> None:
    memory, states = opened(4, most=most), torch.randn(3, 2, 4, 5, 6)
    found = memory(states)
    with torch.inference_mode():
        torch.testing.assert_close(memory(states), found)
        with torch.autocast("cpu", torch.bfloat16):
            half = memory(states)
            torch.testing.assert_close(half.float(), found, rtol=0.05, atol=0.03)
            again, _ = memory.step(states[0], torch.zeros(memory.step(states[0])[1].shape))
            torch.testing.assert_close(again.float(), found[0], rtol=0.05, atol=0.03)
    compiled = torch.compile(memory, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(states), found)
    other = torch.randn(3, 1, 4, 7, 4)
    torch.testing.assert_close(compiled(other), memory(other))


def test_survives_saving_a_change_of_type_and_channels_last() -> None:
    memory, other = opened(4), SpatialMemory(4)
    states = torch.randn(3, 2, 4, 5, 6)
    found = memory(states)
    other.load_state_dict(load(save(memory.state_dict())))
    torch.testing.assert_close(other(states), found, rtol=0, atol=0)
    last = states.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    torch.testing.assert_close(other(last), found)
    double = other.double()(states.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), found)


def test_at_least_one_token_is_asked_for() -> None:
    with pytest.raises(ModelError, match="most must be at least 1, found 0"):
        SpatialMemory(4, most=0)
