import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expectations.series import Series
from expectations.unit_change import UnitChange, unit_change

F = UnitChange("degF instead of degC", 1.8, 32.0)
K = UnitChange("K instead of degC", 1.0, 273.15)
TENFOLD = UnitChange("10 times too large", 10.0)
HALF = UnitChange("m s-1 instead of knot", 0.5)
ALL = (F, K, TENFOLD, HALF)


def weather(first: int, last: int, places: int = 6, seed: int = 0) -> Series:
    """Temperatures of the hours from first to last: 8 to 22, a daily course, weather and stations of their own."""
    rng = np.random.default_rng(seed)
    hours = np.arange(first, last)
    course = 15 + 4 * np.sin(hours * np.pi / 12) + 2 * np.sin(hours / 40)
    values = course + np.arange(places)[:, None] * 0.2 + rng.normal(0, 0.3, (places, len(hours)))
    return Series(np.repeat(np.arange(places), len(hours)), np.tile(hours, places), values.ravel())


def changed(series: Series, change: UnitChange) -> Series:
    return Series(series.location, series.step, change.apply(series.value))


RECENT = weather(0, 24 * 28)
DAY = weather(24 * 28, 24 * 29, seed=1)


def test_a_change_of_unit_can_be_undone() -> None:
    values = np.array([-40.0, 0.0, 100.0])
    assert F.apply(values).tolist() == [-40.0, 32.0, 212.0]
    assert F.undo(F.apply(values)) == pytest.approx(values)


def test_a_day_in_the_unit_of_the_others_has_no_vote() -> None:
    votes = unit_change(DAY, RECENT, ALL)
    assert (votes.locations, votes.share, votes.change) == (6, 0.0, None)


@pytest.mark.parametrize("change", [F, K, TENFOLD])
def test_a_day_in_another_unit_is_told_by_every_location(change: UnitChange) -> None:
    votes = unit_change(changed(DAY, change), RECENT, ALL)
    assert (votes.locations, votes.share, votes.change) == (6, 1.0, change)


def test_of_a_long_batch_the_beginning_is_compared() -> None:
    weeks = weather(24 * 28, 24 * 49, seed=2)
    assert unit_change(changed(weeks, K), RECENT, ALL).change == K
    assert unit_change(weeks, RECENT, ALL).share == 0.0


def test_half_the_level_can_be_weather_unless_the_same_keys_come_again() -> None:
    hours = np.arange(24 * 29)
    speed = np.exp(np.random.default_rng(0).normal(1.5, 0.6, 29))[hours // 24] + np.sin(hours)  # calm days and storms
    wind = Series(np.repeat([0, 1], len(hours)), np.tile(hours, 2), np.tile(speed.clip(0.1), 2))
    recent, day = wind.where(wind.step < 24 * 28), wind.where(wind.step >= 24 * 28)
    votes = unit_change(changed(day, HALF), recent, ALL)
    assert (votes.locations, votes.share) == (2, 0.0)
    again = recent.where(recent.step >= 24 * 27)
    told = unit_change(changed(again, HALF), recent, ALL)
    assert (told.share, told.change) == (1.0, HALF)
    rounded = Series(again.location, again.step, np.round(HALF.apply(again.value), 1))
    assert unit_change(rounded, recent, ALL).change == HALF


def test_keys_that_come_again_as_they_were_outvote_a_level_that_moved() -> None:
    again = RECENT.where(RECENT.step >= 24 * 27)
    assert unit_change(again, RECENT, ALL).share == 0.0
    corrected = again.value.copy()
    corrected[::7] += 3.0  # a seventh was corrected
    assert unit_change(Series(again.location, again.step, corrected), RECENT, ALL).share == 0.0


def test_one_location_of_six_is_a_sixth() -> None:
    value = np.where(DAY.location == 2, K.apply(DAY.value), DAY.value)
    votes = unit_change(Series(DAY.location, DAY.step, value), RECENT, ALL)
    assert votes.share == pytest.approx(1 / 6)
    assert votes.change == K


def test_too_little_is_not_judged() -> None:
    few = DAY.where(DAY.step < 24 * 28 + 1)  # six values
    assert unit_change(changed(few, K), RECENT, ALL).locations == 0
    assert unit_change(changed(DAY, K), RECENT.where(RECENT.step < 0), ALL).locations == 0
    assert unit_change(changed(DAY, K), RECENT, ()).locations == 0
    short = RECENT.where(RECENT.step >= 24 * 28 - 5)  # five hours
    assert unit_change(changed(DAY, K), short, ALL).locations == 0


@given(st.permutations(range(6)), st.integers(0, 200))
def test_the_vote_does_not_depend_on_what_locations_are_called_or_when_it_is(names: list[int], later: int) -> None:
    def moved(series: Series) -> Series:
        place = np.array(names)[series.location]
        order = np.lexsort((series.step, place))
        return Series(place[order], series.step[order] + later, series.value[order])

    votes = unit_change(moved(changed(DAY, F)), moved(RECENT), ALL)
    assert (votes.locations, votes.share, votes.change) == (6, 1.0, F)
