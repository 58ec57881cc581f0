from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipeline.store.observations.keys import TIME, Keys, instants, matrix, order_of

DAY = 86_400_000_000


def rows(*keys: tuple[int, str]) -> pa.Table:
    times, places = [day * DAY for day, _ in keys], [place for _, place in keys]
    return pa.table({"valid_time": pa.array(times, pa.int64()).cast(TIME), "location": pa.array(places, pa.string())})


@pytest.mark.parametrize("turned", [False, True])
def test_keys_are_numbered_by_time_and_then_by_location(turned: bool) -> None:
    told = [(-1, "B"), (-1, "é"), (0, "A"), (0, "B"), (7, "A")]
    given = rows(*(told[::-1] if turned else told))
    keys, number = Keys.of(given)
    expected = [0 * 3 + 1, 0 * 3 + 2, 1 * 3 + 0, 1 * 3 + 1, 2 * 3 + 0]
    assert number.tolist() == (expected[::-1] if turned else expected)
    assert keys.number(given).tolist() == number.tolist()
    assert keys.times.tolist() == [-DAY, 0, 7 * DAY]
    assert keys.places.to_pylist() == ["A", "B", "é"]


def test_times_and_locations_that_are_none_of_these_have_no_number() -> None:
    keys, _ = Keys.of(rows((0, "A"), (2, "B")))
    other = rows((0, "B"), (1, "A"), (3, "A"), (-1, "A"), (0, "C"), (2, "A"))
    assert keys.number(other).tolist() == [1, -1, -1, -1, -1, 2]
    assert keys.number(rows()).tolist() == []


def test_a_number_is_a_key_and_a_month_again() -> None:
    given = rows((30, "A"), (31, "B"), (31, "A"))  # the first of the months after the epoch ends with day 30
    keys, number = Keys.of(given)
    columns = pa.table(keys.columns(number))
    assert columns["valid_time"].to_pylist() == given["valid_time"].to_pylist()
    assert columns["location"].to_pylist() == ["A", "B", "A"]
    assert columns["month"].to_pylist() == ["1970-01", "1970-02", "1970-02"]


def test_columns_in_several_chunks_are_one() -> None:
    parts = pa.concat_tables([rows((0, "B")), rows(), rows((0, "A"), (1, "B"))])
    keys, number = Keys.of(parts)
    assert (number.tolist(), keys.number(parts).tolist()) == ([1, 0, 3], [1, 0, 3])
    assert instants(parts, "valid_time").tolist() == [0, 0, DAY]


def test_no_rows_have_no_keys() -> None:
    keys, number = Keys.of(rows())
    assert (len(number), len(keys.times), len(keys.places)) == (0, 0, 0)


def test_values_are_a_matrix_with_nan_for_none() -> None:
    table = pa.table({"u": pa.array([1.0, None]), "v": pa.array([float("nan"), 2.0])})
    np.testing.assert_array_equal(matrix(table, ("v", "u")), [[np.nan, 2.0], [1.0, np.nan]])
    assert matrix(table, ()).shape == (0, 2)


def test_an_order_is_none_where_the_rows_are_in_it() -> None:
    one, two = np.array([1, 1, 2]), np.array([5, 5, 4])
    assert order_of(one) is None
    assert order_of(one, two) is None
    assert order_of(one, two[::-1]) is None
    for major, minor, expected in (([2, 1, 1], None, [1, 2, 0]), ([1, 1, 1], [2, 1, 2], [1, 0, 2])):
        order = order_of(np.array(major), None if minor is None else np.array(minor))
        assert order is not None and order.tolist() == expected
