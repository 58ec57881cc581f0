"""Whether every network can learn at all, here the past that its head does not see, and in half the digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from models.catalogue import MODELS
from models.networks.neural import NeuralModel
from models.networks.sample import Locations, Sample
from models.task import Task
from tests.bfloat16 import needs_bfloat16
from tests.unit.models.conftest import make_network

NETWORKS = [name for name, entry in MODELS.items() if issubclass(entry.load(), NeuralModel)]
SMALL = {"hidden": 8, "frames": 4, "dropout": 0.0, "base": "climatology"}


def sample_of(n: Any, grid: Any) -> Any:
    count = grid[0] * grid[1]
    levels = torch.tensor([-1.28, -0.67, 0.0, 0.67, 1.28])
    shape = (n, 3, 1, count)
    return Sample(
        anomaly=torch.randn(n, 4, 1, count),
        known=torch.ones(n, 4, 1, count),
        calendar=torch.zeros(n, 4, 6),
        target_calendar=torch.zeros(n, 3, 6),
        covariates=torch.zeros(n, 3, 0, count),
        covariate_mask=torch.zeros(n, 3, 0, count),
        base=levels.expand(*shape, 5),
        deviation=torch.ones(shape),
        low=torch.full(shape, -torch.inf),
        high=torch.full(shape, torch.inf),
        locations=Locations(torch.rand(count, 2), torch.zeros(count, 0), torch.arange(count), grid),
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_learns_to_recall_the_frame_before_the_last(name: str, task_of: Callable[..., Task]) -> None:
    net = make_network(name, task_of(stations=12, grid=(3, 4)), **SMALL)
    given = sample_of(32, (3, 4))
    truth = given.anomaly[:, 2:3].expand(-1, 3, -1, -1)
    optimiser = torch.optim.Adam(net.parameters(), 2e-2)
    losses = []
    for _ in range(40):
        loss = net.head.loss(net(given), truth, given).mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        losses.append(float(loss.detach()))
    # At first it forecasts its base, which knows nothing.
    assert losses[-1] < 0.8 * losses[0]


@needs_bfloat16
@pytest.mark.parametrize("grid", [None, (3, 4)], ids=["stations", "grid"])
@pytest.mark.parametrize("name", NETWORKS)
def test_in_bfloat16_a_network_gives_almost_the_same_and_still_learns(
    name: str, grid: Any, task_of: Callable[..., Task], perturbed: Callable[..., Any]
) -> None:
    net = perturbed(make_network(name, task_of(stations=12, grid=grid), **SMALL))
    given = sample_of(2, (3, 4))
    given = given._replace(locations=given.locations._replace(grid=grid))
    exact = net(given)
    with torch.autocast("cpu", torch.bfloat16):
        coarse = net(given)
    coarse.float().square().sum().backward()
    assert (coarse.float() - exact).norm() < 0.05 * exact.norm()
    assert all(torch.isfinite(parameter.grad).all() for parameter in net.parameters())
