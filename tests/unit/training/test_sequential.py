from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from pipeline.training.sequential import FRACTIONS, RECENT, WARM_UP, SequentialTest, compare_sequentially
from tests.score_simulation import BATCH, simulate_gains

SIGNIFICANCE = 0.05
LEVELS = [2.0**power / SIGNIFICANCE for power in range(-5, 60)]
YEAR = 365


def run_on(gains: NDArray[np.float64], overlap: int) -> SequentialTest:
    return compare_sequentially(1 - gains, np.ones_like(gains), overlap)


def test_wealth_by_hand() -> None:
    """Without overlap, differences of 0.1 have the scale 0.1, so each multiplies a wealth by 1 + its fraction."""
    result = run_on(np.full(WARM_UP + 3, 0.1), 1)
    # The first bet is placed once WARM_UP cases are scored.
    expected = [np.mean((1 + FRACTIONS) ** bets) for bets in (1, 2, 3)]
    np.testing.assert_allclose(result.e_values[:WARM_UP], 1)
    np.testing.assert_allclose(result.e_values[WARM_UP:], expected)
    assert result.p_value == pytest.approx(1 / expected[-1])
    assert result.debt == 0


def test_an_e_value_counts_once_all_bets_are_settled() -> None:
    """With an overlap of 3, betting pauses at the level 1.25; by then two more bets are open."""
    result = run_on(np.full(40, 0.1), 3)
    # WARM_UP means are known after WARM_UP + 2 cases, so the first bet is on the third case after them.
    wealth = [np.ones(len(FRACTIONS))] * (WARM_UP + 4)
    while wealth[-1].mean() < 1.25:
        wealth.append(wealth[-1] + FRACTIONS / 3 * wealth[-3])
    for _ in range(2):
        wealth.append(wealth[-1] + FRACTIONS / 3 * wealth[-3])
    settled = len(wealth) - 1
    np.testing.assert_array_equal(result.e_values[:settled], 1)
    assert result.e_values[settled] == pytest.approx(wealth[-1].mean())


@pytest.mark.parametrize("overlap", [2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_a_bet_depends_only_on_cases_scored_by_its_issue_time(seed: int, overlap: int) -> None:
    """Expected values issue time by issue time, from the cases known then."""
    gains = simulate_gains(1, 120, overlap, seed=seed, gain=0.05)[0]
    gains[np.random.default_rng(seed).random(120) < 0.1] = np.nan
    first = int(np.isfinite(gains).argmax())
    e_values = run_on(gains, overlap).e_values
    bets = np.zeros((120 + overlap, len(FRACTIONS)))
    e_value, best, paused = 1.0, 1.0, False
    for issue in range(overlap, 120 + overlap):
        known = gains[: issue - overlap + 1]
        wealth = 1 + (bets[: len(known)] * np.nan_to_num(known)[:, None]).sum(axis=0)
        if not bets[len(known) : issue].any():
            e_value, paused = max(wealth.mean(), 0), False
            best = max(best, e_value)
        paused = paused or bool(wealth.mean() >= next(level for level in LEVELS if level > best))
        assert e_values[len(known) - 1] == pytest.approx(e_value)
        windows = [known[end - overlap : end] for end in range(first + overlap, len(known) + 1)]
        squares = [(np.nansum(window) / overlap) ** 2 for window in windows if np.isfinite(window).any()]
        if len(squares) >= WARM_UP and not paused:
            recent = [
                np.nansum(window) / overlap for window in windows[-RECENT * overlap :] if np.isfinite(window).any()
            ]
            scale = np.sqrt(max(np.mean(squares), np.mean(np.square(recent))))
            bets[issue] = FRACTIONS * np.maximum(wealth, 0) / (overlap * scale)
    assert e_value > 1


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 119))
@settings(deadline=None)
def test_later_cases_change_nothing(seed: int, overlap: int, cases: int) -> None:
    gains = simulate_gains(1, 120, overlap, seed=seed, gain=0.05)[0]
    gains[np.random.default_rng(seed).random(120) < 0.1] = np.nan
    np.testing.assert_array_equal(run_on(gains, overlap).e_values[:cases], run_on(gains[:cases], overlap).e_values)


@pytest.mark.parametrize("overlap", [1, 3])
def test_the_unit_of_the_scores_does_not_matter(overlap: int) -> None:
    gains = simulate_gains(1, 200, overlap, seed=7, gain=0.03)[0]
    np.testing.assert_allclose(run_on(gains, overlap).e_values, run_on(gains * 1024, overlap).e_values, rtol=1e-6)


def test_tests_run_side_by_side_as_alone() -> None:
    gains = simulate_gains(6, 200, 3, seed=1, gain=0.03)
    together = run_on(gains.reshape(2, 3, 200), 3)
    assert together.e_value.shape == together.p_value.shape == together.debt.shape == (2, 3)
    for index, row in enumerate(gains):
        np.testing.assert_array_equal(together.e_values.reshape(6, 200)[index], run_on(row, 3).e_values)


def test_equal_scores_are_no_evidence() -> None:
    result = run_on(np.zeros(100), 3)
    np.testing.assert_array_equal(result.e_values, 1)
    assert result.p_value == 1


def test_missing_scores_are_no_evidence() -> None:
    assert run_on(np.full(100, np.nan), 2).p_value == 1
    gains = simulate_gains(1, 400, 1, seed=3, gain=0.05)[0]
    gappy = np.insert(gains, 200, np.full(50, np.nan))
    before, after = run_on(gains, 1).e_values, run_on(gappy, 1).e_values
    np.testing.assert_array_equal(after[200:250], before[199])


@pytest.mark.parametrize("overlap", [1, 3, 8])
@pytest.mark.parametrize("earlier", [1, 2, 7, 30])
def test_cases_before_the_first_score_change_nothing(overlap: int, earlier: int) -> None:
    gains = simulate_gains(20, 120, overlap, seed=12, gain=0.1)
    padded = np.pad(gains, ((0, 0), (earlier, 0)), constant_values=np.nan)
    alone, later = (compare_sequentially(1 - one, np.ones_like(one), overlap) for one in (gains, padded))
    np.testing.assert_array_equal(later.e_values[:, earlier:], alone.e_values)
    np.testing.assert_array_equal(later.debt, alone.debt)


def test_a_loss_beyond_the_wealth_stays_as_debt() -> None:
    gains = np.where(np.arange(60) % 2, 0.1, -0.1)
    gains[30] = -2.0
    result = run_on(gains, 1)
    assert result.debt > 0
    np.testing.assert_array_equal(result.e_values[31:], 0)


@pytest.mark.parametrize("overlap", [1, 3])
def test_cases_before_the_first_bet_only_give_the_scale(overlap: int) -> None:
    gains = simulate_gains(2, 120, overlap, seed=8, gain=0.1)
    rival = np.ones_like(gains)
    first = np.array([40, 60])
    late = compare_sequentially(1 - gains, rival, overlap, first_bet=first, decide_only=True)
    for row, start in enumerate(first):
        np.testing.assert_array_equal(late.e_values[row, :start], 1)
    # The scale is the same as without it: constant gains multiply the wealth as often as there are bets.
    constant = compare_sequentially(1 - np.full(50, 0.1), np.ones(50), 1, first_bet=45)
    assert constant.e_value == pytest.approx(np.mean((1 + FRACTIONS) ** 5))


def test_a_test_that_only_decides_needs_fewer_cases() -> None:
    gains = simulate_gains(50, 400, 3, seed=9, gain=0.1)
    tests = [compare_sequentially(1 - gains, np.ones_like(gains), 3, decide_only=only) for only in (True, False)]
    decides, reports = ((one.e_values >= 1 / SIGNIFICANCE).argmax(axis=-1) for one in tests)
    assert (tests[0].p_value <= SIGNIFICANCE).all()
    assert np.median(decides) < np.median(reports)


def test_no_case_at_all() -> None:
    assert run_on(np.empty((2, 0)), 3).p_value.tolist() == [1, 1]


@pytest.mark.parametrize(("rival", "overlap"), [(np.ones(3), 1), (np.ones(2), 0)])
def test_wrong_input_raises(rival: NDArray[np.float64], overlap: int) -> None:
    with pytest.raises(ValueError, match=r"scores have shapes|overlap is 0"):
        compare_sequentially(np.ones(2), rival, overlap)


@pytest.mark.parametrize(
    ("overlap", "products", "nightly"),
    [(1, 2000, 1), (3, 2000, 1), (25, 2000, 1), (25, 500, 12)],
    ids=["no overlap", "three days", "hourly leads, one case a night", "hourly leads, twelve cases a night"],
)
def test_equal_recipes_are_seldom_promoted_on_any_night(overlap: int, products: int, nightly: int) -> None:
    """A batch of 365 cases, then a year of nights. Hourly forecasts of 24 leads with an hour of delay overlap by 25."""
    result = run_on(simulate_gains(products, BATCH + YEAR * nightly, overlap, seed=4), overlap)
    ever = int((result.p_value <= SIGNIFICANCE).sum())
    stated = SIGNIFICANCE * (1 + result.debt.mean())
    assert stats.binomtest(ever, products, stated, alternative="greater").pvalue > 0.05
    assert result.debt.mean() < 0.2


def test_a_slightly_worse_recipe_is_promoted_even_less_often() -> None:
    equal, worse = (run_on(simulate_gains(2000, BATCH + YEAR, 3, seed=5, gain=gain), 3) for gain in (0.0, -0.005))
    assert (worse.p_value <= SIGNIFICANCE).sum() < (equal.p_value <= SIGNIFICANCE).sum() / 2


def test_a_better_recipe_is_promoted() -> None:
    """A gain of 2 % with the noise of daily wind: more than half within two years of nights."""
    result = run_on(simulate_gains(500, BATCH + 2 * YEAR, 3, seed=6, gain=0.02), 3)
    assert (result.p_value <= SIGNIFICANCE).mean() > 0.75
