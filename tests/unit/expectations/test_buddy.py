import numpy as np
import pytest
from numpy.typing import NDArray

from expectations.buddy import departures, differences, neighbours
from expectations.series import Series

ROW = np.arange(5, dtype=np.float64) * 0.1  # degrees apart along the equator, 11.1 km each


def frame(values: NDArray[np.float64]) -> Series:
    """Values of shape (time, location) as a series."""
    times, places = values.shape
    return Series(np.repeat(np.arange(places), times), np.tile(np.arange(times), places), values.T.ravel())


def field(times: int = 40) -> NDArray[np.float64]:
    """A signal that all five stations share, each with its own offset, and a little noise."""
    rng = np.random.default_rng(0)
    signal = 10 * np.sin(np.arange(times) / 3)[:, None]
    values: NDArray[np.float64] = signal + np.array([0.0, 5.0, -3.0, 20.0, 1.0]) + rng.normal(0, 0.1, (times, 5))
    return values


def test_neighbours_are_the_nearest_others_weighted_by_one_over_distance() -> None:
    near = neighbours(ROW, np.zeros(5), count=2, within_km=500)
    assert near.index[0].tolist() == [1, 2]
    assert sorted(near.index[2].tolist()) == [1, 3]
    assert near.weight[0] == pytest.approx([1 / 11.12, 1 / 22.24], rel=1e-3)


def test_who_is_too_far_is_no_neighbour_and_twins_are_one_kilometre_apart() -> None:
    near = neighbours(np.array([0.0, 0.0, 0.0, 90.0]), np.zeros(4), count=2, within_km=500)
    assert sorted(near.index[0].tolist()) == [1, 2]
    assert near.weight[:3].tolist() == [[1.0, 1.0]] * 3
    assert near.weight[3].tolist() == [0.0, 0.0]
    crowd = neighbours(np.zeros(6), np.zeros(6), count=3, within_km=500)
    assert all(n not in crowd.index[n] for n in range(6))


def test_distance_does_not_stop_at_the_date_line() -> None:
    near = neighbours(np.array([179.95, -179.95, 170.0]), np.zeros(3), count=1, within_km=500)
    assert near.index[0].tolist() == [1]
    assert near.weight[0] == pytest.approx([1 / 11.12], rel=1e-3)


def test_the_difference_is_from_the_weighted_median_of_at_least_three() -> None:
    near = neighbours(ROW, np.zeros(5), count=4, within_km=500)
    values = np.array([[7.0, 1.0, 2.0, 3.0, 100.0]])
    # Neighbours of the first: 1, 2, 3, 100 with weights 1, 1/2, 1/3, 1/4: half of 25/12 is reached at 2.
    told = differences(frame(values), near)
    assert told[0] == 7.0 - 2.0
    values[0, 1:3] = np.nan  # two are left
    assert np.isnan(differences(frame(values), near)).all()


def test_a_fault_of_the_nearest_is_not_taken_for_that_of_the_others() -> None:
    near = neighbours(np.array([0.0, 0.001, 0.2, 0.3]), np.zeros(4), count=3, within_km=500)
    told = differences(frame(np.array([[7.0, 99.0, 7.0, 8.0]])), near)  # the second is 1 km from the first
    assert told[0] == 7.0 - 8.0


def test_a_value_alone_at_its_time_is_not_judged() -> None:
    near = neighbours(ROW, np.zeros(5), count=4, within_km=500)
    scattered = Series(np.arange(5), np.arange(5), np.ones(5))
    assert np.isnan(differences(scattered, near)).all()
    assert differences(Series(np.arange(0), np.arange(0), np.ones(0)), near).tolist() == []


def test_one_wrong_value_departs_and_its_neighbours_do_not() -> None:
    near = neighbours(ROW, np.zeros(5), count=4, within_km=500)
    values = field()
    assert departures(frame(values), near, floor=0.0).max() < 6
    values[20, 3] += 5  # what 0.1 of noise can not explain, and well within the range of the station
    told = departures(frame(values), near, floor=0.0).reshape(5, 40).T
    assert np.argwhere(told > 6).tolist() == [[20, 3]]


def test_the_floor_keeps_a_small_departure_small() -> None:
    near = neighbours(ROW, np.zeros(5), count=4, within_km=500)
    values = field()
    values[20, 3] += 5
    told = departures(frame(values), near, floor=1.0)
    assert told.max() == pytest.approx(5, abs=0.5)


def test_too_little_history_is_not_judged_and_a_few_new_stations_use_that_of_all() -> None:
    near = neighbours(ROW, np.zeros(5), count=4, within_km=500)
    assert departures(frame(field(5)), near, floor=0.0).max() == 0
    values = field()
    values[:35, 3] = np.nan  # five values of its own, 20 above the rest
    told = departures(frame(values), near, floor=0.0).reshape(5, 40).T
    assert told[35:, 3].min() > 0
    assert told[:35, 3].max() == 0


def test_where_most_differences_are_equal_nothing_is_judged_without_a_floor() -> None:
    near = neighbours(ROW, np.zeros(5), count=4, within_km=500)
    dry = np.zeros((40, 5))
    dry[7, 0] = 30.0
    assert departures(frame(dry), near, floor=0.0).max() == 0
    assert departures(frame(dry), near, floor=1.0).max() == 30


def test_an_offset_and_a_unit_change_nothing() -> None:
    near = neighbours(ROW, np.zeros(5), count=4, within_km=500)
    values = field()
    values[20, 3] += 5
    one = departures(frame(values), near, floor=0.0)
    other = departures(frame(values * 1.8 + 32), near, floor=0.0)
    assert other == pytest.approx(one, rel=1e-6)
