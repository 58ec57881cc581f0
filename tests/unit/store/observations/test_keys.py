from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipeline.store.observations.keys import TIME, Keys, sort_order, timestamps, value_matrix

DAY = 86_400_000_000


def rows(*keys: tuple[int, str]) -> pa.Table:
    times, locations = [day * DAY for day, _ in keys], [location for _, location in keys]
    return pa.table(
        {"valid_time": pa.array(times, pa.int64()).cast(TIME), "location": pa.array(locations, pa.string())}
    )


@pytest.mark.parametrize("reverse", [False, True])
def test_keys_are_numbered_by_time_then_location(reverse: bool) -> None:
    pairs = [(-1, "B"), (-1, "é"), (0, "A"), (0, "B"), (7, "A")]
    given = rows(*(pairs[::-1] if reverse else pairs))
    keys, number = Keys.from_rows(given)
    expected = [0 * 3 + 1, 0 * 3 + 2, 1 * 3 + 0, 1 * 3 + 1, 2 * 3 + 0]
    assert number.tolist() == (expected[::-1] if reverse else expected)
    assert keys.number_rows(given).tolist() == number.tolist()
    assert keys.times.tolist() == [-DAY, 0, 7 * DAY]
    assert keys.locations.to_pylist() == ["A", "B", "é"]


def test_unknown_times_and_locations_have_the_number_minus_one() -> None:
    keys, _ = Keys.from_rows(rows((0, "A"), (2, "B")))
    other = rows((0, "B"), (1, "A"), (3, "A"), (-1, "A"), (0, "C"), (2, "A"))
    assert keys.number_rows(other).tolist() == [1, -1, -1, -1, -1, 2]
    assert keys.number_rows(rows()).tolist() == []


def test_numbers_are_converted_back_to_columns() -> None:
    given = rows((30, "A"), (31, "B"), (31, "A"))  # January 1970 ends with day 30
    keys, number = Keys.from_rows(given)
    columns = pa.table(keys.to_columns(number))
    assert columns["valid_time"].to_pylist() == given["valid_time"].to_pylist()
    assert columns["location"].to_pylist() == ["A", "B", "A"]
    assert columns["month"].to_pylist() == ["1970-01", "1970-02", "1970-02"]


def test_columns_may_have_several_chunks() -> None:
    parts = pa.concat_tables([rows((0, "B")), rows(), rows((0, "A"), (1, "B"))])
    keys, number = Keys.from_rows(parts)
    assert (number.tolist(), keys.number_rows(parts).tolist()) == ([1, 0, 3], [1, 0, 3])
    assert timestamps(parts, "valid_time").tolist() == [0, 0, DAY]


def test_no_rows_have_no_keys() -> None:
    keys, number = Keys.from_rows(rows())
    assert (len(number), len(keys.times), len(keys.locations)) == (0, 0, 0)


def test_missing_values_are_nan_in_the_matrix() -> None:
    table = pa.table({"u": pa.array([1.0, None]), "v": pa.array([float("nan"), 2.0])})
    np.testing.assert_array_equal(value_matrix(table, ("v", "u")), [[np.nan, 2.0], [1.0, np.nan]])
    assert value_matrix(table, ()).shape == (0, 2)


def test_the_order_of_sorted_rows_is_none() -> None:
    one, two = np.array([1, 1, 2]), np.array([5, 5, 4])
    assert sort_order(one) is None
    assert sort_order(one, two) is None
    assert sort_order(one, two[::-1]) is None
    for major, minor, expected in (([2, 1, 1], None, [1, 2, 0]), ([1, 1, 1], [2, 1, 2], [1, 0, 2])):
        order = sort_order(np.array(major), None if minor is None else np.array(minor))
        assert order is not None and order.tolist() == expected
