from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from models.networks import losses

INFINITY = math.inf
CASES = [
    # mean, deviation, truth, low, high
    (0.3, 1.2, -0.4, -INFINITY, INFINITY),
    (0.3, 1.2, 0.0, 0.0, INFINITY),
    (-1.0, 0.5, 0.7, 0.0, INFINITY),
    (2.0, 1.5, 1.0, -INFINITY, 1.0),
    (0.5, 0.4, 0.6, 0.0, 1.0),
    (-2.0, 3.0, 1.0, 0.0, 1.0),
    (0.5, 0.4, -0.3, 0.0, 1.0),
    (0.5, 0.4, 1.8, 0.0, 1.0),
]


def tensors(*numbers: Any, dtype: Any = torch.float64, grad: Any = False) -> Any:
    return [torch.tensor(number, dtype=dtype, requires_grad=grad) for number in numbers]


def integrated(mean: Any, deviation: Any, truth: Any, low: Any, high: Any) -> Any:
    """The score by its definition: the squared distance of the distribution from the step at the truth."""

    def distance(value: Any) -> Any:
        below = stats.norm.cdf(value, mean, deviation)
        forecast = 0.0 if value < low else 1.0 if value >= high else below
        return (forecast - (value >= truth)) ** 2

    start, end = min(mean - 12 * deviation, truth) - 1, max(mean + 12 * deviation, truth) + 1
    kinks = [point for point in (mean, truth, low, high) if start < point < end]
    return integrate.quad(distance, start, end, points=sorted(set(kinks)), limit=500)[0]


def test_point_losses_by_hand() -> None:
    forecast, truth = torch.tensor([1.0, 1.0, 1.0]), torch.tensor([1.5, -2.0, 1.0])
    torch.testing.assert_close(losses.squared(forecast, truth), torch.tensor([0.25, 9.0, 0.0]))
    torch.testing.assert_close(losses.absolute(forecast, truth), torch.tensor([0.5, 3.0, 0.0]))
    torch.testing.assert_close(losses.huber(forecast, truth), torch.tensor([0.125, 2.5, 0.0]))
    torch.testing.assert_close(losses.huber(forecast, truth, delta=2.0), torch.tensor([0.125, 4.0, 0.0]))


def test_pinball_by_hand() -> None:
    """Errors 1 and -1 at levels 0.25 and 0.75: 0.25 each, twice, times widths 0.5 and 0.5."""
    got = losses.pinball(torch.tensor([0.0, 2.0]), torch.tensor(1.0), torch.tensor([0.25, 0.75]), torch.full((2,), 0.5))
    torch.testing.assert_close(got, torch.tensor(0.5))


@pytest.mark.parametrize("case", CASES)
def test_censored_score_is_the_integral_of_its_definition(case: Any) -> None:
    assert float(losses.censored_crps(*tensors(*case))) == pytest.approx(integrated(*case), abs=1e-9)


@pytest.mark.parametrize(("mean", "deviation", "truth"), [(0.0, 1.0, 0.0), (1.0, 0.3, -2.0), (-4.0, 5.0, 3.0)])
def test_normal_score_is_the_integral_of_its_definition(mean: Any, deviation: Any, truth: Any) -> None:
    expected = integrated(mean, deviation, truth, -INFINITY, INFINITY)
    assert float(losses.normal_crps(*tensors(mean, deviation, truth))) == pytest.approx(expected, abs=1e-9)


def test_normal_score_at_its_mean_by_hand() -> None:
    """At the mean of a standard normal: (sqrt 2 - 1) / sqrt pi."""
    expected = (math.sqrt(2) - 1) / math.sqrt(math.pi)
    assert float(losses.normal_crps(*tensors(0.0, 1.0, 0.0))) == pytest.approx(expected)


def test_log_score_is_the_density() -> None:
    got = losses.normal_log_score(*tensors(1.0, 2.0, 4.0))
    assert float(got) == pytest.approx(-stats.norm.logpdf(4.0, 1.0, 2.0))


@pytest.mark.parametrize(
    ("truth", "expected"),
    [
        (0.4, -stats.norm.logpdf(0.4, 0.5, 0.8)),
        (0.0, -stats.norm.logcdf(0.0, 0.5, 0.8)),
        (-0.2, -stats.norm.logcdf(0.0, 0.5, 0.8)),
        (1.0, -stats.norm.logsf(1.0, 0.5, 0.8)),
        (1.7, -stats.norm.logsf(1.0, 0.5, 0.8)),
    ],
)
def test_censored_log_score_is_density_inside_and_mass_on_the_limits(truth: Any, expected: Any) -> None:
    got = losses.censored_log_score(*tensors(0.5, 0.8, truth, 0.0, 1.0))
    assert float(got) == pytest.approx(expected)


def test_without_limits_censored_is_normal() -> None:
    mean, deviation, truth = tensors([0.2, -1.0], [1.0, 3.0], [1.0, 9.0])
    low, high = torch.full((2, 2), -INFINITY, dtype=torch.float64)[0], torch.full((2,), INFINITY, dtype=torch.float64)
    for censored, normal in (
        (losses.censored_crps, losses.normal_crps),
        (losses.censored_log_score, losses.normal_log_score),
    ):
        torch.testing.assert_close(censored(mean, deviation, truth, low, high), normal(mean, deviation, truth))


numbers = st.floats(-5.0, 5.0)
limits = st.sampled_from([(-INFINITY, INFINITY), (0.0, INFINITY), (-INFINITY, 0.5), (0.0, 0.5)])


@given(mean=numbers, deviation=st.floats(0.1, 5.0), truth=numbers, bounds=limits)
def test_gradients_are_those_of_finite_differences(mean: Any, deviation: Any, truth: Any, bounds: Any) -> None:
    step = 1e-5
    low, high = tensors(*bounds)
    for score in (losses.censored_crps, losses.censored_log_score):
        mu, sigma = tensors(mean, deviation, grad=True)
        value = score(mu, sigma, torch.tensor(truth, dtype=torch.float64), low, high)
        for position, found in enumerate(torch.autograd.grad(value, (mu, sigma))):
            ends = []
            for sign in (-1, 1):
                moved = [mean, deviation]
                moved[position] += sign * step
                mu, sigma, observed = tensors(*moved, truth)
                ends.append(float(score(mu, sigma, observed, low, high)))
            slope = (ends[1] - ends[0]) / (2 * step)
            assert float(found) == pytest.approx(slope, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("bounds", [(-INFINITY, INFINITY), (0.0, INFINITY), (-INFINITY, 0.0), (0.0, 1e-3)])
@pytest.mark.parametrize("mean", [-1e4, -30.0, 0.0, 30.0, 1e4])
@pytest.mark.parametrize("deviation", [1e-3, 1.0, 1e4])
def test_scores_and_gradients_stay_finite_far_out_in_single_precision(mean: Any, deviation: Any, bounds: Any) -> None:
    truths = torch.tensor([-1e4, -1.0, 0.0, 5e-4, 1e-3, 1.0, 1e4])
    low, high = (torch.full_like(truths, bound) for bound in bounds)
    for score in (losses.censored_crps, losses.censored_log_score):
        mu, sigma = (torch.full_like(truths, value).requires_grad_() for value in (mean, deviation))
        value = score(mu, sigma, truths, low, high)
        assert value.isfinite().all()
        for slope in torch.autograd.grad(value.sum(), (mu, sigma)):
            assert slope.isfinite().all()


def test_mass_far_beyond_a_limit_still_pulls_the_mean_back() -> None:
    """The log score of a truth on the limit, the mean 50 deviations above: its slope is about those 50."""
    (mean,) = tensors(50.0, dtype=torch.float32, grad=True)
    score = losses.censored_log_score(mean, *tensors(1.0, 0.0, 0.0, INFINITY, dtype=torch.float32))
    (slope,) = torch.autograd.grad(score, mean)
    # Mills' ratio: 50 + 1/50.
    assert float(slope) == pytest.approx(50.02, rel=1e-4)


def test_truths_on_a_limit_survive_rounding() -> None:
    low = torch.tensor(-1.2345678)
    mean, deviation = tensors(0.0, 1.0, dtype=torch.float32)
    on = losses.censored_log_score(mean, deviation, low, low, torch.tensor(INFINITY))
    near = losses.censored_log_score(mean, deviation, low + 1e-6, low, torch.tensor(INFINITY))
    torch.testing.assert_close(on, near)


def test_area_weights_fall_with_the_cosine_and_average_to_one() -> None:
    weights = losses.area_weights([0.0, 60.0, -60.0])
    np.testing.assert_allclose(weights, [1.5, 0.75, 0.75], rtol=1e-6)
    assert losses.area_weights((90.0, 90.0)).isfinite().all()
