import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expectations.completeness import MIN_TRANSITIONS, completeness, share_backwards


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_keys_are_counted_against_the_cadence() -> None:
    # Steps 10 to 14 at places 0 and 3: ten expected, seven there.
    found = completeness(ints(0, 0, 0, 0, 0, 3, 3), ints(10, 11, 12, 13, 14, 10, 14))
    assert (found.times, found.expected, found.share) == (5, 10, 0.7)
    assert (found.locations.tolist(), found.present.tolist()) == ([0, 3], [5, 2])


def test_one_row_is_complete_and_none_expects_none() -> None:
    assert completeness(ints(2), ints(7)).share == 1.0
    empty = completeness(ints(), ints())
    assert (empty.expected, empty.share) == (0, 1.0)


@given(st.sets(st.tuples(st.integers(0, 3), st.integers(-9, 9)), min_size=1))
def test_the_share_is_between_nothing_and_all(keys: set[tuple[int, int]]) -> None:
    place, step = (np.array([key[n] for key in sorted(keys)], np.int64) for n in (0, 1))
    found = completeness(place, step)
    assert 0 < found.share <= 1
    assert (found.share == 1) == (len(keys) == found.times * len(set(place.tolist())))


def test_labels_that_wrap_once_a_day_go_back_every_24th_step() -> None:
    hours = np.concatenate([24 * day + (np.arange(24) + 6) % 24 for day in range(10)])  # 6 to 23, then 0 to 5
    place = np.zeros(240, np.int64)
    assert share_backwards(place, hours) == pytest.approx(10 / 239)
    both = share_backwards(np.repeat([0, 1], 240), np.tile(hours, 2))  # one place after the other
    assert both == pytest.approx(20 / 478)


def test_a_payload_in_either_direction_is_in_order() -> None:
    time, place = np.arange(400) // 2, np.arange(400) % 2
    assert share_backwards(place, time) == 0.0
    assert share_backwards(place, time[::-1]) == 0.0
    assert share_backwards(place, np.zeros(400, np.int64)) is None  # nothing moves


def test_few_steps_tell_nothing() -> None:
    time = np.arange(MIN_TRANSITIONS)
    assert share_backwards(np.zeros(len(time), np.int64), time) is None
    assert share_backwards(ints(), ints()) is None
