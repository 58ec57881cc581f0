import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expectations.drift import CRITICAL, distance, drift, effective_size
from expectations.series import Series


def daily(first: int, last: int, shift: float = 0.0, places: int = 3, seed: int = 0) -> Series:
    """Independent values at steps from first to last."""
    steps = np.arange(first, last)
    values = np.random.default_rng(seed).normal(shift, 1, (places, len(steps)))
    return Series(np.repeat(np.arange(places), len(steps)), np.tile(steps, places), values.ravel())


def test_the_distance_by_hand() -> None:
    # At 2: 2 of 2 against 1 of 4.
    assert distance(np.array([1.0, 2.0]), np.array([2.0, 3.0, 4.0, 5.0])) == 0.75
    assert distance(np.array([1.0]), np.array([2.0])) == 1.0
    assert distance(np.array([1.0, 2.0]), np.array([2.0, 1.0])) == 0.0


SAMPLE = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=30)


@given(SAMPLE, SAMPLE)
def test_the_distance_is_that_of_kolmogorov_and_smirnov(one: list[float], other: list[float]) -> None:
    below = [[sum(value <= x for value in sample) / len(sample) for sample in (one, other)] for x in one + other]
    expected = max(abs(first - second) for first, second in below)
    assert distance(np.array(one), np.array(other)) == pytest.approx(expected)
    assert distance(np.array(other), np.array(one)) == pytest.approx(expected)


def test_the_effective_size_of_values_that_follow_one_another() -> None:
    rng = np.random.default_rng(0)
    free = rng.normal(size=4000)
    assert effective_size(free) == pytest.approx(4000, rel=0.1)
    tied = np.zeros(4000)
    for n in range(1, 4000):
        tied[n] = 0.9 * tied[n - 1] + free[n]
    assert effective_size(tied) == pytest.approx(4000 * 0.1 / 1.9, rel=0.15)
    assert effective_size(np.full(50, 3.0)) == 1.0
    assert effective_size(np.array([1.0, 2.0])) == 2.0


def test_alike_is_near_and_shifted_is_far() -> None:
    recent = daily(0, 400)
    alike, apart = (drift(daily(400, 500, shift, seed=1), recent, day=1) for shift in (0.0, 2.0))
    assert alike.locations == apart.locations == 3
    assert alike.distance < alike.chance
    assert apart.distance > 0.6 > apart.chance
    assert alike.chance == pytest.approx(CRITICAL * (1 / 100 + 1 / 400) ** 0.5, rel=0.25)


def test_a_night_is_compared_with_nights() -> None:
    hours = np.arange(24 * 60)
    rng = np.random.default_rng(0)
    values = 100 * (hours % 24 >= 6) + rng.normal(size=len(hours))
    recent = Series(np.zeros(len(hours), np.int64), hours, values)
    nights = recent.where((hours % 24 < 6) & (hours >= 24 * 50))
    before = recent.where(hours < 24 * 50)
    told = drift(nights, before, day=24)
    assert told.locations == 1
    assert told.distance < told.chance
    assert drift(nights, before, day=1).distance > 0.7


def test_too_few_independent_values_are_not_judged() -> None:
    assert drift(daily(400, 405), daily(0, 400), day=1).locations == 0
    assert drift(daily(400, 500), daily(0, 5), day=1).locations == 0
    steps = np.arange(200)
    slow = Series(np.zeros(200, np.int64), steps, steps / 200.0)
    assert drift(Series(slow.location, steps + 200, slow.value), slow, day=1).locations == 0


def test_locations_without_a_past_are_left_out_and_of_very_many_an_even_part_is_looked_at() -> None:
    new = daily(400, 500, places=4)
    assert drift(new, daily(0, 400, places=3), day=1).locations == 3
    many = drift(daily(40, 80, places=1200), daily(0, 40, places=1200, seed=1), day=1)
    assert 400 < many.locations <= 500
