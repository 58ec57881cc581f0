from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from models.catalogue import build
from models.errors import ModelError
from models.task import Task
from models.zoo.dlinear import LinearCore
from tests.unit.models.conftest import make_network


def test_the_core_is_the_linear_map_worked_by_hand(sizes_of: Any) -> None:
    core = LinearCore(sizes_of(frames=4, leads=1), window=3)
    with torch.no_grad():
        core.linear.trend.copy_(torch.tensor([[0.0, 0.0, 1.0, 0.0]]))
        core.linear.remainder.copy_(torch.tensor([[2.0, 0.0, 0.0, 0.0]]))
    past = torch.tensor([0.0, 3.0, 6.0, 0.0]).view(4, 1, 1)
    # The third trend, (3 + 6 + 0) / 3, twice the first remainder, 0 - (0 + 0 + 3) / 3, and what is known ahead.
    torch.testing.assert_close(core(past, torch.full((1, 1, 1), 10.0)), torch.full((1, 1, 1), 3.0 - 2.0 + 10.0))


def test_what_two_pasts_give_adds_up(sizes_of: Any, perturbed: Callable[..., Any]) -> None:
    core, nothing = perturbed(LinearCore(sizes_of(), window=3)), torch.zeros(3, 2, 4)
    a, b = torch.randn(4, 2, 4), torch.randn(4, 2, 4)
    torch.testing.assert_close(core(a + 2 * b, nothing), core(a, nothing) + 2 * core(b, nothing))


def test_it_reads_the_whole_context_by_default(task_of: Callable[..., Task]) -> None:
    whole = make_network("dlinear", task_of(context=30)).trunk.core
    latest = make_network("dlinear", task_of(context=30), frames=7).trunk.core
    assert isinstance(whole, LinearCore)
    assert isinstance(latest, LinearCore)
    assert whole.linear.trend.shape == (3, 30)
    assert latest.linear.trend.shape == (3, 7)


def test_an_even_window_is_refused(task_of: Callable[..., Task]) -> None:
    with pytest.raises(ModelError, match="dlinear: window must be odd, found 4"):
        build("dlinear", task_of(), window=4)
