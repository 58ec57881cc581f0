from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm

from pipeline.training.metrics import covered, crps, intervals, nominal_coverage, pinball

LEVELS = (0.25, 0.5, 0.75)


def array(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def gaussian_crps(mean: float, deviation: float, truth: float) -> float:
    """Gneiting and Raftery (2007), equation 21."""
    z = (truth - mean) / deviation
    return float(deviation * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi)))


def test_pinball_by_hand() -> None:
    # Truth 5 against 2, 4, 8: 3 above the first, 1 above the second, 3 below the third.
    loss = pinball(array(2, 4, 8), np.float32(5) * np.ones((), np.float32), LEVELS)
    assert loss.tolist() == [0.25 * 3, 0.5 * 1, 0.25 * 3]


def test_crps_by_hand() -> None:
    # Losses 0.75, 0.5, 0.75 at 1/4, 1/2, 3/4 and 0 at 0 and 1, by trapezia of width 1/4:
    # (0 + .75)/8 + (.75 + .5)/8 + (.5 + .75)/8 + (.75 + 0)/8 = 4/8; twice that is 1.
    score = crps(array(2, 4, 8), np.array(5, np.float32), LEVELS)
    assert score == pytest.approx(1.0)


def test_crps_by_hand_on_uneven_levels() -> None:
    # One level, 0.5: a triangle over [0, 1] of height |error| / 2, so twice the area is |error| / 2.
    assert crps(array(3)[None], array(7), (0.5,)).tolist() == [2.0]
    # Levels 0.1 and 0.5, truth 1 above both: losses 0.1 and 0.5; .05*.1 + .4*.3 + .5*.25 = .25, twice is .5.
    assert crps(array(0, 0)[None], array(1), (0.1, 0.5))[0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("mean", "deviation", "truth"), [(0, 1, 0), (0, 1, 1.5), (10, 3, 8), (-5, 0.2, -5.3), (2, 1, 4)]
)
def test_crps_with_many_levels_matches_the_closed_form_for_a_gaussian(
    mean: float, deviation: float, truth: float
) -> None:
    levels = tuple(np.arange(1, 400) / 400)
    quantiles = norm.ppf(levels, mean, deviation).astype(np.float32)
    assert crps(quantiles, np.array(truth, np.float32), levels) == pytest.approx(
        gaussian_crps(mean, deviation, truth), rel=0.01
    )


def test_crps_with_more_levels_is_closer_to_the_closed_form() -> None:
    far = []
    for count in (9, 19, 99):
        levels = tuple(np.arange(1, count + 1) / (count + 1))
        score = crps(norm.ppf(levels).astype(np.float32), np.array(0.7, np.float32), levels)
        far.append(abs(float(score) - gaussian_crps(0, 1, 0.7)))
    assert far[0] > far[1] > far[2]


@pytest.mark.parametrize(("shift", "scale"), [(0.3, 1.0), (-0.3, 1.0), (0.0, 0.6), (0.0, 1.6), (0.4, 0.7)])
def test_the_true_distribution_scores_best_on_average(shift: float, scale: float) -> None:
    levels = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
    truth = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    honest = norm.ppf(levels).astype(np.float32)
    other = norm.ppf(levels, shift, scale).astype(np.float32)
    assert crps(honest, truth, levels).mean() < crps(other, truth, levels).mean()


@given(st.floats(-100, 100, width=32), st.floats(0, 10, width=32), st.floats(-100, 100, width=32))
def test_crps_is_never_negative_and_zero_only_for_certainty(middle: float, spread: float, truth: float) -> None:
    quantiles = array(middle - spread, middle, middle + spread)
    score = float(crps(quantiles, np.array(truth, np.float32), LEVELS))
    assert score >= 0
    assert (score == 0) == bool((quantiles == np.float32(truth)).all())


@given(st.floats(-50, 50, width=32), st.floats(1, 8, width=32))
def test_crps_scales_with_the_unit(truth: float, factor: float) -> None:
    quantiles = array(-3, 1, 2).astype(np.float64)
    one = crps(quantiles, np.array(truth), LEVELS)  # type: ignore[arg-type]
    assert crps(quantiles * factor, np.array(truth * factor), LEVELS) == pytest.approx(one * factor, abs=1e-6)  # type: ignore[arg-type]


def test_scores_are_nan_where_the_truth_is_unknown() -> None:
    quantiles = np.broadcast_to(array(2, 4, 8), (2, 3, 3))
    truth = np.array([[5, np.nan, 9], [1, 2, 8]], np.float32)
    score, inside = crps(quantiles, truth, LEVELS), covered(quantiles, truth)
    assert score.shape == inside.shape == (2, 3)
    assert np.isnan(score).tolist() == np.isnan(inside).tolist() == [[False, True, False], [False] * 3]
    np.testing.assert_array_equal(inside, [[1, np.nan, 0], [0, 1, 1]])  # the ends belong to the interval


def test_nominal_coverage() -> None:
    assert nominal_coverage((0.05, 0.5, 0.95)) == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ((0.05, 0.1, 0.5, 0.9, 0.95), ((0, 4), (1, 3))),
        ((0.1, 0.5, 0.75, 0.9), ((0, 3),)),
        ((0.5, 0.75), ()),
        ((0.5,), ()),
    ],
)
def test_central_intervals_have_levels_that_add_up_to_one(
    levels: tuple[float, ...], expected: tuple[tuple[int, int], ...]
) -> None:
    assert intervals(levels) == expected
