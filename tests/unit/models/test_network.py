"""The parts of the flagship: cells, attention, set convolution, head, and the network they make."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.layers.attention import TEMPORAL, SpatialMemory, TemporalAttention
from models.layers.convlstm import ConvLSTM, ConvLSTMCell
from models.layers.setconv import FromGrid, ToGrid, unit_square
from models.networks.forecaster import Forecaster, Sample, Shape
from models.networks.heads import OrderedCorrection
from models.networks.losses import pinball


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def loop(cell, xs):
    """The equations of Shi et al. (2015), written out in float64, pixel by pixel."""
    weight = cell.gates.weight.detach().double().numpy()
    bias = cell.gates.bias.detach().double().numpy()
    hidden, inputs = cell.hidden, cell.inputs
    peep = np.zeros((3, hidden)) if cell.peepholes is None else cell.peepholes.detach().double()[..., 0, 0].numpy()
    _, n, _, height, width = xs.shape
    h, c = np.zeros((n, hidden, height, width)), np.zeros((n, hidden, height, width))
    out = []
    for x in xs.double().numpy():
        padded = np.pad(np.concatenate([x, h], axis=1), ((0, 0), (0, 0), (1, 1), (1, 1)))
        new_h, new_c = np.zeros_like(h), np.zeros_like(c)
        for row in range(height):
            for column in range(width):
                patch = padded[:, :, row : row + 3, column : column + 3]
                pre = np.einsum("nkij,okij->no", patch, weight) + bias
                i, f, g, o = np.split(pre, 4, axis=1)
                before = c[:, :, row, column]
                i, f = (1 / (1 + np.exp(-(gate + peep[k] * before))) for k, gate in enumerate((i, f)))
                after = f * before + i * np.tanh(g)
                o = 1 / (1 + np.exp(-(o + peep[2] * after)))
                new_c[:, :, row, column], new_h[:, :, row, column] = after, o * np.tanh(after)
        h, c = new_h, new_c
        out.append(h)
    assert inputs + hidden == weight.shape[1]
    return np.stack(out)


@pytest.mark.parametrize("peepholes", [False, True])
def test_cell_equals_the_equations(peepholes):
    cell = ConvLSTMCell(2, 3, peepholes=peepholes)
    if cell.peepholes is not None:
        torch.nn.init.normal_(cell.peepholes)
    xs = torch.randn(4, 2, 2, 4, 5)
    state, out = None, []
    for x in xs:
        state = cell(x, state)
        out.append(state[0])
    np.testing.assert_allclose(torch.stack(out).detach().numpy(), loop(cell, xs), rtol=1e-5, atol=1e-6)


def test_forget_gate_starts_at_bias_one_and_the_others_at_zero():
    bias = ConvLSTMCell(2, 3).gates.bias.detach()
    np.testing.assert_array_equal(bias, np.repeat([0, 1, 0, 0], 3))


def test_first_step_equals_a_step_from_a_zero_state():
    cell = ConvLSTMCell(2, 3, peepholes=True)
    torch.nn.init.normal_(cell.peepholes)
    x, zero = torch.randn(2, 2, 4, 4), torch.zeros(2, 3, 4, 4)
    for one, two in zip(cell(x), cell(x, (zero, zero)), strict=True):
        torch.testing.assert_close(one, two)


def test_stack_takes_any_batch_and_grid_and_hands_its_state_on():
    net = ConvLSTM(4, layers=2, peepholes=True)
    for n, height, width in ((1, 3, 3), (5, 7, 2)):
        xs = torch.randn(6, n, 4, height, width)
        whole, _ = net(xs)
        assert whole.shape == xs.shape
        first, states = net(xs[:4])
        rest, _ = net(xs[4:], states)
        torch.testing.assert_close(torch.cat([first, rest]), whole)


@pytest.mark.parametrize("kind", [kind for kind in TEMPORAL if kind != "none"])
def test_temporal_attention_stays_within_its_cell(kind):
    attention = TemporalAttention(8, kind=kind)
    decoder, encoder = torch.randn(3, 2, 8, 4, 4), torch.randn(5, 2, 8, 4, 4)
    before = attention(decoder, encoder)
    assert before.shape == decoder.shape
    encoder[:, 1, :, 2, 3] += 1
    changed = (attention(decoder, encoder) != before).any(dim=2)
    assert changed[:, 1, 2, 3].all()
    assert changed.sum() == 3


def test_dot_attention_equals_the_formula():
    attention = TemporalAttention(4, kind="dot")
    decoder, encoder = torch.randn(1, 1, 4, 1, 1), torch.randn(3, 1, 4, 1, 1)
    q, k, v = attention.query(decoder.flatten()), attention.key(encoder.view(3, 4)), attention.value(encoder.view(3, 4))
    context = attention.join((q @ k.T / 2).softmax(-1) @ v)
    torch.testing.assert_close(attention(decoder, encoder).flatten(), decoder.flatten() + context)


def test_spatial_memory_starts_as_the_identity_and_then_sees_far():
    memory, states = SpatialMemory(4), torch.randn(3, 2, 4, 5, 5)
    torch.testing.assert_close(memory(states), states)
    torch.nn.init.ones_(memory.gate)
    before = memory(states)
    states[0, 0, :, 0, 0] += 1
    assert (memory(states)[0, 0, :, 4, 4] != before[0, 0, :, 4, 4]).any()


def test_set_convolution_ignores_missing_stations_and_their_order():
    to_grid, positions = ToGrid(4), torch.rand(5, 2)
    values, known = torch.randn(2, 1, 5), torch.ones(2, 1, 5)
    known[:, :, 3] = 0
    values = values * known
    keep = torch.tensor([4, 0, 2, 1])
    some = to_grid(values[..., keep], known[..., keep], positions[keep])
    torch.testing.assert_close(to_grid(values, known, positions), some)


def test_constant_field_survives_the_way_to_any_position():
    there = FromGrid(6)(torch.full((1, 2, 6, 6), 3.0), torch.rand(11, 2))
    torch.testing.assert_close(there, torch.full((1, 2, 11), 3.0), rtol=0.01, atol=0)
    # The grid may be finer than the one that the length scale was made for.
    assert FromGrid(6)(torch.ones(1, 2, 9, 9), torch.rand(3, 2)).shape == (1, 2, 3)


def test_unit_square_keeps_proportions_across_the_date_line():
    square = unit_square((179.0, -179.0), (0.0, 0.5))
    np.testing.assert_allclose(square[1] - square[0], [0.8, 0.2], atol=1e-3)
    np.testing.assert_allclose(unit_square((5.0,), (50.0,)), [[0.5, 0.5]])


def test_head_starts_at_its_base_and_never_crosses():
    head = OrderedCorrection(3, 2, 5, 2, width=8, dropout=0.0)
    base = torch.randn(4, 3, 2, 6, 5).sort(dim=-1).values
    features, deviation = torch.randn(4, 3, 6, 3), torch.ones(4, 3, 2, 6)
    torch.testing.assert_close(head(features, base, deviation), base)
    torch.nn.init.normal_(head.last.weight, std=5)
    assert (head(features, base, deviation).diff(dim=-1) >= -1e-5).all()


def test_pinball_worked_by_hand():
    levels, widths = torch.tensor([0.25, 0.75]), torch.tensor([0.5, 0.5])
    # 2 (0.5 (0.25 * 2) + 0.5 (0.25 * 1)) = 0.75: one quantile 2 below, the other 1 above.
    loss = pinball(torch.tensor([[1.0, 4.0]]), torch.tensor([3.0]), levels, widths)
    torch.testing.assert_close(loss, torch.tensor([0.75]))


def sample(n, places, generator=None):
    base = torch.randn(n, 2, 1, places, 3, generator=generator).sort(dim=-1).values
    return Sample(
        torch.randn(n, 4, 2, places, generator=generator),
        (torch.rand(n, 4, 2, places, generator=generator) > 0.2).float(),
        torch.randn(n, 4, 6, generator=generator),
        torch.randn(n, 2, 6, generator=generator),
        base,
        torch.ones(n, 2, 1, places),
    )


def network(positions, **shape):
    net = Forecaster(
        Shape(hidden=4, grid=3, frames=3, dropout=0.0, **shape),
        channels=2,
        targets=1,
        leads=2,
        levels=3,
        median=1,
        positions=positions,
    )
    # The zeros of a fresh network would hide most of it.
    for parameter in (net.head.last.weight, net.embedding):
        torch.nn.init.normal_(parameter)
    if net.memory is not None:
        torch.nn.init.ones_(net.memory.gate)
    return net


@pytest.mark.parametrize("temporal", TEMPORAL)
@pytest.mark.parametrize("rich", [False, True])
def test_every_parameter_receives_a_gradient(temporal, rich):
    net = network(torch.rand(5, 2), temporal=temporal, spatial=rich, peepholes=rich, layers=1 + rich)
    net(sample(6, 5)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_network_is_equivariant_to_the_order_of_stations():
    order = torch.tensor([3, 1, 4, 0, 2])
    net = network(torch.rand(5, 2), spatial=True)
    given = sample(2, 5)
    moved = Sample(
        given.anomaly[..., order],
        given.known[..., order],
        given.calendar,
        given.ahead,
        given.base[:, :, :, order],
        given.deviation[..., order],
    )
    before = net(given)[:, :, :, order]
    net.positions = net.positions[order]
    net.embedding.data = net.embedding.data[order]
    torch.testing.assert_close(net(moved), before)


def test_parameters_peepholes_and_positions_follow_to_float64():
    net = network(torch.rand(5, 2), peepholes=True)
    given = sample(2, 5)
    single = net(given)
    double = net.double()(Sample(*(part.double() for part in given)))
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), single, rtol=1e-3, atol=1e-4)
    assert any("peepholes" in name for name in net.state_dict())
