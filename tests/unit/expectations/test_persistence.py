import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expectations.persistence import longest_natural_run, run_lengths, share_of_runs, share_of_ties
from expectations.series import Series

NAN = float("nan")


def series(*locations: list[float]) -> Series:
    """Values of each location at steps 0, 1, 2 and so on."""
    return Series(
        np.concatenate([np.full(len(values), n) for n, values in enumerate(locations)]).astype(np.int64),
        np.concatenate([np.arange(len(values)) for values in locations]).astype(np.int64),
        np.concatenate([np.array(values, np.float64) for values in locations]),
    )


def test_each_value_tells_the_length_of_its_run() -> None:
    assert run_lengths(series([1, 2, 2, 2, 3]), gap=9).tolist() == [1, 3, 3, 3, 1]


def test_a_run_ends_with_its_location() -> None:
    assert run_lengths(series([1, 2, 2], [2, 2, 5]), gap=9).tolist() == [1, 2, 2, 2, 2, 1]


def test_a_missing_value_has_no_run_and_does_not_end_one() -> None:
    assert run_lengths(series([2, NAN, 2, 2]), gap=9).tolist() == [3, 0, 3, 3]


def test_a_gap_longer_than_is_told_ends_a_run() -> None:
    steps = Series(np.zeros(4, np.int64), np.array([0, 1, 4, 5]), np.full(4, 7.0))
    assert run_lengths(steps, gap=3).tolist() == [4, 4, 4, 4]
    assert run_lengths(steps, gap=2).tolist() == [2, 2, 2, 2]


def test_no_values_have_no_runs() -> None:
    assert run_lengths(series([NAN, NAN]), gap=1).tolist() == [0, 0]
    assert run_lengths(series([]), gap=1).tolist() == []
    assert share_of_ties(series([])) == share_of_runs(series([NAN]), 0.0) == 0.0


@given(st.lists(st.sampled_from([0.0, 1.0, NAN]), max_size=30))
def test_runs_agree_with_a_plain_count(values: list[float]) -> None:
    seen = [(n, value) for n, value in enumerate(values) if value == value]
    expected = [0] * len(values)
    start = 0
    for end in range(1, len(seen) + 1):
        if end == len(seen) or seen[end][1] != seen[start][1]:
            for place, _ in seen[start:end]:
                expected[place] = end - start
            start = end
    assert run_lengths(series(values), gap=1000).tolist() == expected


def test_zero_is_natural_where_rain_starts_and_stops_and_not_where_one_sensor_died() -> None:
    rain = [0.0, 0.0, 1.0, 0.0, 0.0, 2.0, 0.0, 0.0]  # 3 of 5 runs
    busy = [float(n) for n in range(1, 101)]
    assert share_of_runs(series(rain), 0.0) == pytest.approx(0.6)
    assert share_of_runs(series(busy, busy, [0.0] * 100), 0.0) == 0.0
    assert share_of_runs(series([*busy, *[0.0] * 500]), 0.0) == pytest.approx(1 / 101)


def test_how_often_neighbouring_values_are_equal() -> None:
    assert share_of_ties(series([1, 1, 2, 2, 3])) == pytest.approx(0.5)
    assert share_of_ties(series([1, 1, 1], [1, 2, 3], [4, 5, 6])) == 0.0  # the median location


@pytest.mark.parametrize(
    ("values", "day", "longest"),
    [
        ([float(n) for n in range(100)], 144, 12),  # never equal
        ([n // 2 * 1.0 for n in range(100)], 144, 288),  # half of the steps, and more
        ([n // 1.25 // 1 for n in range(100)], 144, 144),  # one in five
        ([n // 1.25 // 1 for n in range(100)], 1, 12),  # daily values: never fewer than twelve
    ],
)
def test_the_longest_natural_run_follows_how_coarse_values_are(values: list[float], day: int, longest: int) -> None:
    assert longest_natural_run(series(values), day=day) == longest
