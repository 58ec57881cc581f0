from __future__ import annotations

from typing import Any

import torch

from models.layers.bidirectional import BidirectionalLSTM
from models.layers.lstm import LSTM
from tests.unit.models.gradients import gradient_of


def lstm(weights: Any, suffix: Any, x: Any) -> Any:
    """One layer from its equations: all h, and the last (h, c); torch orders the gates i, f, g, o."""
    own, again = weights[f"weight_ih_l0{suffix}"], weights[f"weight_hh_l0{suffix}"]
    bias = weights[f"bias_ih_l0{suffix}"] + weights[f"bias_hh_l0{suffix}"]
    hidden = cell = torch.zeros(x.shape[1], again.shape[1], dtype=x.dtype)
    outputs = []
    for step in x:
        enter, forget, candidate, leave = (step @ own.T + hidden @ again.T + bias).chunk(4, dim=1)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(candidate)
        hidden = torch.sigmoid(leave) * torch.tanh(cell)
        outputs.append(hidden)
    return torch.stack(outputs), (hidden, cell)


def test_joins_what_two_readers_make_of_the_sequence() -> None:
    torch.manual_seed(0)
    layer, x = BidirectionalLSTM(2, 3).double(), torch.randn(5, 4, 2, dtype=torch.float64)
    assert layer.lstm.torch_lstm is not None
    weights = dict(layer.lstm.torch_lstm.named_parameters())
    there, (hidden, cell) = lstm(weights, "", x)
    back, (first, old) = lstm(weights, "_reverse", x.flip(0))
    outputs, [state] = layer(x)
    torch.testing.assert_close(outputs, layer.join[0](torch.cat([there, back.flip(0)], dim=-1)))
    torch.testing.assert_close(state[0], layer.join[0](torch.cat([hidden, first], dim=-1)))
    torch.testing.assert_close(state[1], layer.join_cell[0](torch.cat([cell, old], dim=-1)))


def test_the_first_output_sees_the_last_step_and_the_last_the_first() -> None:
    torch.manual_seed(0)
    layer, x = BidirectionalLSTM(2, 3), torch.randn(5, 1, 2)
    found, _ = layer(x)
    for step, other in ((0, -1), (-1, 0)):
        changed = x.clone()
        changed[other] += 1
        assert not torch.allclose(layer(changed)[0][step], found[step])


def test_an_lstm_of_as_many_layers_goes_on_from_its_states() -> None:
    torch.manual_seed(0)
    layer, after = BidirectionalLSTM(2, 3, layers=2), LSTM(2, 3, layers=2)
    outputs, states = layer(torch.randn(5, 4, 2))
    assert outputs.shape == (5, 4, 3)
    assert [tuple(part.shape) for state in states for part in state] == [(4, 3)] * 4
    found, _ = after(torch.randn(2, 4, 2), states)
    found.sum().backward()
    assert all(gradient_of(parameter).abs().sum() > 0 for parameter in layer.parameters())
