from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from pipeline.times import as_numpy
from pipeline.training.skill_loss import FRACTIONS, INTERVAL, LIFETIME, STARTS, SkillLoss, find_skill_loss
from tests.score_simulation import simulate_gains

SIGNIFICANCE = 0.05
START = datetime(2002, 1, 1, 7, tzinfo=UTC)
DAY = timedelta(days=1)
OVERLAP = 3
GOOD = 200
"""Days on which the forecast is better, before it becomes worse."""


def find(
    losses: NDArray[np.float64], *, overlap: int = OVERLAP, since: datetime = START, until: datetime | None = None
) -> SkillLoss | None:
    """Look for a loss of skill in daily forecasts; `losses` (case,) are relative to the score of the reference."""
    return find_skill_loss(
        1 + losses,
        np.ones_like(losses),
        as_numpy(START) + np.arange(len(losses)) * np.timedelta64(1, "D"),
        overlap=overlap,
        open_for=overlap * DAY,
        since=since,
        until=until or START + len(losses) * DAY,
        significance=SIGNIFICANCE,
    )


def changing(seed: int, *, loss: float, nights: int) -> NDArray[np.float64]:
    """Return the losses of a forecast that is 5 % better for 200 days, and then worse."""
    losses: NDArray[np.float64] = simulate_gains(1, GOOD + nights, OVERLAP, seed=seed)[0]
    losses += np.where(np.arange(GOOD + nights) < GOOD, -0.05, loss)
    return losses


def test_a_constant_loss_by_hand() -> None:
    """Without overlap, each bet multiplies the wealth of a fraction f by 1 + f; the first is on the 13th case."""
    enough = STARTS / SIGNIFICANCE
    bets = next(n for n in range(100) if np.mean((1 + FRACTIONS) ** n) >= enough)
    losses = np.full(12 + bets, 0.1)
    assert find(losses[:-1], overlap=1) is None
    found = find(losses, overlap=1)
    assert found is not None
    assert found.first == 0
    assert found.p_value == pytest.approx(STARTS / np.mean((1 + FRACTIONS) ** bets))


def test_equal_forecasts_seldom_raise_an_alarm_within_a_year() -> None:
    products, days = 150, 360
    gains = simulate_gains(products, days, OVERLAP, seed=21)
    alarms = sum(find(row) is not None for row in gains)
    assert stats.binomtest(alarms, products, SIGNIFICANCE, alternative="greater").pvalue > 0.05


def test_a_better_forecast_raises_no_alarm() -> None:
    assert not any(find(row - 0.02) for row in simulate_gains(30, 360, OVERLAP, seed=22))


@pytest.mark.parametrize(("loss", "nights"), [(0.1, 100), (0.2, 65), (0.5, 60)])
def test_lost_skill_is_found_within_months_after_a_good_year(loss: float, nights: int) -> None:
    """Median 62, 48 and 40 nights."""
    found = [find(changing(seed, loss=loss, nights=nights)) for seed in range(20)]
    assert sum(one is not None for one in found) >= 17
    # The test that finds it began near the change, so that the numbers it reports are those of the loss.
    assert all(one.first > GOOD - 2 * INTERVAL.days for one in found if one is not None)


@given(st.integers(0, 1000), st.integers(0, 80))
@settings(deadline=None, max_examples=15)
def test_an_alarm_stays_while_more_forecasts_mature(seed: int, more: int) -> None:
    losses = changing(seed, loss=0.5, nights=150)
    found = find(losses[: GOOD + 60])
    if found is not None:
        later = find(losses[: GOOD + 60 + more])
        assert later is not None
        assert later.p_value <= found.p_value


def test_what_came_before_the_last_decision_is_not_decided_again() -> None:
    losses = np.where(np.arange(160) < 100, 0.5, -0.1) + simulate_gains(1, 160, OVERLAP, seed=3)[0]
    assert find(losses) is not None
    assert find(losses, since=START + 100 * DAY) is None


def test_earlier_forecasts_give_the_scale_so_that_bets_begin_at_once() -> None:
    losses = 0.3 + simulate_gains(1, 105, OVERLAP, seed=4)[0]
    assert find(losses, since=START + 45 * DAY) is not None
    assert find(losses[45:]) is None


def test_a_test_ends_after_a_year() -> None:
    losses = np.zeros(500)
    losses[:80] = 0.5
    assert find(losses[:100]) is not None
    assert find(losses, until=START + LIFETIME + 90 * DAY) is None


def test_without_forecasts_or_scores_there_is_no_alarm() -> None:
    assert find(np.empty(0)) is None
    assert find(np.full(200, np.nan)) is None
    assert find(np.zeros(200)) is None
    assert find(np.full(200, 0.5), since=START + 500 * DAY, until=START + 200 * DAY) is None
