from datetime import timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.decoding.resample import select_rows

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def chosen(clock: list[str], window: timedelta, groups: list[int] | None = None) -> list[tuple[int, str]]:
    times = np.array([f"2020-01-01T{time}" for time in clock], dtype="datetime64[us]")
    rows, points = select_rows(times, np.array(groups or [0] * len(clock)), HOUR, window)
    return [(int(row), str(point)[11:16]) for row, point in zip(rows, points, strict=True)]


def test_the_last_observation_before_a_point_stands_for_it() -> None:
    assert chosen(["05:41", "05:53", "06:01", "06:40"], 20 * MINUTE) == [(1, "06:00"), (3, "07:00")]


def test_an_observation_on_a_point_stands_for_that_point() -> None:
    assert chosen(["05:53", "06:00", "06:53"], 20 * MINUTE) == [(1, "06:00"), (2, "07:00")]


def test_an_observation_may_be_exactly_as_old_as_the_window_and_no_older() -> None:
    assert chosen(["05:40"], 20 * MINUTE) == [(0, "06:00")]
    assert chosen(["05:39"], 20 * MINUTE) == []


def test_of_equal_times_the_last_in_the_payload_stands_whatever_the_order() -> None:
    assert chosen(["05:53", "05:53", "05:50"], HOUR) == [(1, "06:00")]


def test_series_do_not_stand_for_each_other() -> None:
    assert chosen(["05:50", "05:53", "05:55"], HOUR, [3, 7, 3]) == [(1, "06:00"), (2, "06:00")]


@given(st.lists(st.tuples(st.integers(-5000, 5000), st.integers(0, 2)), max_size=30), st.integers(1, 90))
def test_it_is_the_naive_search(cells: list[tuple[int, int]], window: int) -> None:
    minutes, groups = np.array([cell[0] for cell in cells]), np.array([cell[1] for cell in cells])
    epoch = np.datetime64("1970-01-01", "us")
    rows, points = select_rows(epoch + minutes.astype("timedelta64[m]"), groups.astype(np.int64), HOUR, window * MINUTE)
    best: dict[tuple[int, int], tuple[int, int]] = {}
    for row, (minute, group) in enumerate(cells):
        point = -(-minute // 60) * 60
        if point - minute <= window:
            best[group, point] = max(best.get((group, point), (minute, row)), (minute, row))
    expected = sorted((row, point) for (_, point), (_, row) in best.items())
    found = [
        (int(row), int((point - epoch) // np.timedelta64(1, "m"))) for row, point in zip(rows, points, strict=True)
    ]
    assert found == expected
