from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from models.task import Task
from models.zoo.fusion import TemporalCnn
from tests.unit.models.conftest import make_network


@pytest.fixture
def core(task_of: Callable[..., Task], perturbed: Callable[..., Any]) -> Any:
    return perturbed(make_network("lstm-cnn-fusion", task_of(), hidden=8).trunk.core)


@pytest.mark.parametrize(("bias", "branch"), [(100.0, "first"), (-100.0, "second")])
def test_the_gate_takes_one_branch_or_the_other(bias: Any, branch: Any, core: Any) -> None:
    past, ahead = torch.randn(6, 2, 8), torch.randn(3, 2, 8)
    torch.nn.init.constant_(core.gate.bias, bias)
    torch.testing.assert_close(core(past, ahead), getattr(core, branch)(past, ahead))


def test_an_even_gate_takes_the_mean_of_both(core: Any) -> None:
    past, ahead = torch.randn(6, 2, 8), torch.randn(3, 2, 8)
    torch.nn.init.zeros_(core.gate.weight)
    torch.nn.init.zeros_(core.gate.bias)
    torch.testing.assert_close(core(past, ahead), (core.first(past, ahead) + core.second(past, ahead)) / 2)


def test_convolutions_look_back_as_far_as_their_dilations_reach(sizes_of: Any) -> None:
    branch = TemporalCnn(2, sizes_of(frames=10, leads=1), kernel=2, depth=2)
    nothing, past = torch.zeros(1, 1, 2), torch.randn(10, 1, 2)
    # One frame back, and then two of those: the last frame knows itself and the three before it.
    for frame in range(10):
        changed = past.clone()
        changed[frame] += 1
        assert torch.allclose(branch(changed, nothing), branch(past, nothing)) == (frame < 6)
