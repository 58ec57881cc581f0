from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from models.catalogue import build
from models.errors import ModelError
from models.layers.bidirectional import BidirectionalLSTM
from models.task import Task
from tests.unit.models.conftest import make_network

SMALL = {"hidden": 8, "base": "climatology"}


@pytest.fixture
def core_of(task_of: Callable[..., Task]) -> Any:
    return lambda name, **options: make_network(name, task_of(), **(SMALL | options)).trunk.core


@pytest.mark.parametrize("name", ["lstm", "peephole-lstm", "bilstm", "gru", "attention-lstm", "attention-gru"])
def test_a_lead_sees_the_leads_before_it_and_not_those_after(name: str, core_of: Any) -> None:
    core = core_of(name)
    past, ahead = torch.randn(6, 2, 8), torch.randn(3, 2, 8)
    found, later = core(past, ahead), ahead.clone()
    later[1] += 1
    changed = core(past, later)
    torch.testing.assert_close(changed[0], found[0])
    assert not torch.allclose(changed[1], found[1])
    assert not torch.allclose(changed[2], found[2])


@pytest.mark.parametrize("name", ["lstm", "peephole-lstm", "bilstm", "gru", "attention-lstm", "attention-gru"])
def test_the_first_frame_reaches_every_lead_and_series_do_not_meet(name: str, core_of: Any) -> None:
    core = core_of(name)
    past, ahead = torch.randn(6, 2, 8), torch.randn(3, 2, 8)
    earlier = past.clone()
    earlier[0, 1] += 1
    change = (core(earlier, ahead) - core(past, ahead)).abs().sum(-1)
    assert (change[:, 0] < 1e-6).all()
    assert (change[:, 1] > 1e-6).all()


def test_only_peepholes_and_the_second_reader_add_parameters_to_an_lstm(core_of: Any) -> None:
    def count(name: Any) -> Any:
        return sum(parameter.numel() for parameter in core_of(name).parameters())

    # Peepholes: three gates of two stacks see the cell; torch's LSTM has two biases, ours one.
    assert count("peephole-lstm") - count("lstm") == 2 * (3 * 8) - 2 * (4 * 8)
    # A second reader, and two joins of 16 to 8.
    assert count("bilstm") - count("lstm") == 4 * 8 * (8 + 8 + 2) + 2 * (16 * 8 + 8)


def test_the_bidirectional_model_reads_both_ways_and_steps_on_one_way(core_of: Any) -> None:
    core = core_of("bilstm")
    assert isinstance(core.encoder, BidirectionalLSTM)
    assert core.forecaster.ways == 1


def test_attention_looks_back_at_all_frames_with_weights_that_sum_to_one(core_of: Any) -> None:
    core = core_of("attention-gru", attention="additive")
    past, ahead = torch.randn(6, 2, 8), torch.randn(3, 2, 8)
    states, ends = core.encoder(past)
    decoded, _ = core.forecaster(ahead, ends)
    weights = core.attention.weights(decoded, states)
    assert weights.shape == (2, 1, 3, 6)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 1, 3))


def test_more_layers_are_stacked_in_both_halves(core_of: Any) -> None:
    assert core_of("lstm", layers=3).encoder.torch_lstm.num_layers == 3
    assert len(core_of("gru", layers=2).forecaster.cells) == 2


def test_unknown_attention_is_refused(task_of: Callable[..., Task]) -> None:
    with pytest.raises(ModelError, match="attention must be one of"):
        build("attention-lstm", task_of(), attention="cosine")
