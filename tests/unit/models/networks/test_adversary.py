from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from models.networks.adversary import Adversary, Trajectories
from tests.unit.models.gradients import gradient_of

SHAPE = (16, 6, 2, 3)


@pytest.fixture(autouse=True)
def seeded() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def new() -> Any:
    return Adversary(learning_rate=0.01, clip=1.0)


def shown(median: Any, truth: Any = None, known: Any = None) -> Any:
    truth = torch.randn(SHAPE) if truth is None else truth
    known = torch.ones(SHAPE) if known is None else known
    return Trajectories(truth, known, median, torch.zeros(SHAPE))


def test_flat_forecasts_of_variable_truths_are_detected_and_variable_ones_are_not() -> None:
    scores = {}
    forecasts: dict[str, Callable[[], Tensor]] = {
        "flat": lambda: torch.zeros(SHAPE),
        "lively": lambda: torch.randn(SHAPE),
    }
    for kind, forecast in forecasts.items():
        adversary = new()
        scores[kind] = [float(adversary(shown(forecast()))) for _ in range(80)][-1]
    # A discriminator that cannot tell says 1/2: half of (1/2 - 1) squared. One that can says 0.
    assert scores["lively"] == pytest.approx(0.125, abs=0.05)
    assert scores["flat"] > 0.4


def test_the_term_teaches_the_forecast_and_not_the_discriminator() -> None:
    adversary, median = new(), torch.randn(SHAPE, requires_grad=True)
    term = adversary(shown(median))
    before = [parameter.grad.clone() for parameter in adversary._parts[0].parameters()]
    term.backward()
    assert gradient_of(median).abs().sum() > 0
    torch.testing.assert_close([parameter.grad for parameter in adversary._parts[0].parameters()], before)


def test_descent_makes_forecasts_pass() -> None:
    """The discriminator held still, a step of the forecast along the gradient lowers the term."""
    adversary, truth = new(), torch.randn(SHAPE)
    for _ in range(30):
        adversary(shown(torch.zeros(SHAPE), truth))
    median = torch.zeros(SHAPE, requires_grad=True)
    frozen = Adversary(learning_rate=1e-12, clip=1.0)
    frozen._parts = adversary._parts
    for group in frozen._parts[1].param_groups:
        group["lr"] = 0.0
    before = frozen(shown(median, truth))
    (slope,) = torch.autograd.grad(before, median)
    after = frozen(shown(median.detach() - 10 * slope, truth))
    assert float(after) < float(before.detach())


def test_trajectories_with_a_gap_take_no_part() -> None:
    known = torch.ones(SHAPE)
    known[3, 2, 1, 0] = 0
    known[5, 0, 0, 2] = 0
    results = []
    for value in (0.0, float("nan")):
        torch.manual_seed(1)
        truth, median = torch.randn(SHAPE), torch.randn(SHAPE).requires_grad_()
        truth = torch.where(known > 0, truth, value)
        term = new()(shown(median, truth, known))
        term.backward()
        results.append((term.detach(), gradient_of(median)))
    assert torch.equal(results[0][0], results[1][0])
    gradient = results[1][1]
    assert gradient.isfinite().all()
    assert not gradient[3, ..., 0].any()
    assert not gradient[5, ..., 2].any()
    assert gradient[3, ..., 1].any()


def test_nothing_whole_teaches_nothing() -> None:
    median = torch.randn(SHAPE, requires_grad=True)
    known = torch.ones(SHAPE)
    known[:, -1] = 0
    term = new()(shown(median, known=known))
    term.backward()
    assert float(term.detach()) == 0.0
    assert not gradient_of(median).any()


def test_a_single_lead_will_do() -> None:
    shape = (4, 1, 1, 3)
    given = Trajectories(torch.randn(shape), torch.ones(shape), torch.randn(shape), torch.zeros(shape))
    assert torch.isfinite(new()(given))
