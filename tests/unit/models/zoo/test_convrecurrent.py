from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from models.errors import ModelError
from models.layers.convgru import ConvGRU
from models.layers.convlstm import ConvLSTM
from models.task import Task
from tests.unit.models.conftest import make_network


@pytest.fixture
def core_of(task_of: Callable[..., Task]) -> Any:
    return lambda name, **options: make_network(name, task_of(), **({"hidden": 4} | options)).trunk.core


@pytest.mark.parametrize(("name", "layer"), [("convlstm", ConvLSTM), ("convgru", ConvGRU)])
def test_the_name_determines_the_layers_of_both_halves(name: str, layer: Any, core_of: Any) -> None:
    core = core_of(name, layers=2, kernel=5)
    for half in (core.encoder, core.forecaster):
        assert isinstance(half, layer)
        assert len(half.cells) == 2
        assert half.cells[0].gates.weight.shape[2:] == (5, 5)


@pytest.mark.parametrize("name", ["convlstm", "convgru"])
def test_a_change_spreads_by_a_cell_with_every_step_and_lead(name: str, core_of: Any) -> None:
    core = core_of(name, frames=1).double()
    for half in (core.encoder, core.forecaster):
        half.norms[0] = torch.nn.Identity()  # means over the field would spread at once
    past, ahead = torch.randn(1, 1, 4, 1, 21).double(), torch.randn(3, 1, 4, 1, 1).double()
    changed = past.clone()
    changed[..., 10] += 1
    moved = (core(changed, ahead) - core(past, ahead)).abs().sum((1, 2, 3)) > 1e-13
    for lead in range(3):
        reached = moved[lead].nonzero().flatten()
        # A ConvGRU resets its state before it convolves it, so that each step looks two cells far.
        reach = lead + 2 if name == "convlstm" else 2 * lead + 3
        assert (int(reached.min()), int(reached.max())) == (10 - reach, 10 + reach)


def test_peepholes_are_a_choice_of_the_lstm_alone(core_of: Any) -> None:
    assert core_of("convlstm").encoder.cells[0].peepholes is None
    assert core_of("convlstm", peepholes=True).encoder.cells[0].peepholes is not None
    with pytest.raises(ModelError, match="convgru: unknown option"):
        core_of("convgru", peepholes=True)


def test_checkpointing_reaches_both_halves(core_of: Any) -> None:
    for name in ("convlstm", "convgru"):
        core = core_of(name, checkpointing=True)
        assert core.encoder.checkpointing
        assert core.forecaster.checkpointing
