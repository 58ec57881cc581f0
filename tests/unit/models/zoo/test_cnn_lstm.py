from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from models.catalogue import build
from models.errors import ModelError
from models.networks.trunks import FieldTrunk, SeriesTrunk
from models.task import Task
from models.zoo.cnn_lstm import SpaceThenLstm, TimeThenLstm
from tests.unit.models.conftest import make_network


class Mean(nn.Module):
    """A recurrent core that can be worked by hand."""

    def forward(self, past: Any, ahead: Any) -> Any:
        return past.mean(0) + ahead


@pytest.mark.parametrize(
    ("grid", "convolve", "trunk", "core"),
    [
        (None, "auto", SeriesTrunk, TimeThenLstm),
        ((2, 2), "auto", FieldTrunk, SpaceThenLstm),
        (None, "space", FieldTrunk, SpaceThenLstm),
        ((2, 2), "time", SeriesTrunk, TimeThenLstm),
    ],
)
def test_by_default_stations_are_convolved_in_time_and_grids_in_space(
    grid: Any, convolve: Any, trunk: Any, core: Any, task_of: Callable[..., Task]
) -> None:
    net = make_network("cnn-lstm", task_of(grid=grid), convolve=convolve, base="climatology")
    assert type(net.trunk) is trunk
    assert type(net.trunk.core) is core


def test_along_time_pairs_of_frames_are_pooled_and_the_last_odd_one_stays() -> None:
    core = TimeThenLstm(Mean(), 1, kernel=1)
    assert core.convolution.bias is not None
    nn.init.ones_(core.convolution.weight)
    nn.init.zeros_(core.convolution.bias)
    past = torch.tensor([1.0, 4.0, -3.0, 2.0, 6.0]).view(5, 1, 1)
    # The larger of 1 and 4, of 0 and 2, and 6; their mean.
    torch.testing.assert_close(core(past, torch.zeros(2, 1, 1)), torch.full((2, 1, 1), 4.0))


def test_in_space_every_frame_is_convolved_separately_and_cells_keep_their_order() -> None:
    core = SpaceThenLstm(Mean(), 4, kernel=3, depth=1)
    past, ahead = torch.randn(5, 2, 4, 3, 6), torch.randn(2, 2, 4, 1, 1)
    expected = torch.stack([core.blocks(frame) for frame in past]).mean(0) + ahead
    torch.testing.assert_close(core(past, ahead), expected)


@pytest.mark.parametrize(("grid", "convolve"), [(None, "space"), ((2, 2), "time")])
def test_every_parameter_learns_where_convolutions_are_the_unusual_ones(
    grid: Any, convolve: Any, task_of: Callable[..., Task], perturbed: Callable[..., Any]
) -> None:
    net = make_network("cnn-lstm", task_of(grid=grid), convolve=convolve, hidden=4, base="climatology")
    core = perturbed(net.trunk.core)
    shape = (2, 4, 3, 3) if convolve == "space" else (2, 4)
    core(torch.randn(6, *shape), torch.randn(3, *shape)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in core.parameters())


def test_an_unknown_convolve_option_is_refused(task_of: Callable[..., Task]) -> None:
    with pytest.raises(ModelError, match="convolve must be one of"):
        build("cnn-lstm", task_of(), convolve="depth")
