import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from expectations.series import Series, in_order, quantiles, segments, spread


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_rows_are_ordered_by_location_then_step_and_equal_keys_keep_their_order() -> None:
    order = in_order(ints(1, 0, 1, 0, 1), ints(5, 7, 4, 6, 5))
    assert order.tolist() == [3, 1, 2, 0, 4]


@given(st.lists(st.tuples(st.integers(0, 100_000), st.integers(-(10**12), 10**12)), max_size=40))
def test_the_order_is_that_of_sorted(keys: list[tuple[int, int]]) -> None:
    location, step = (np.array([key[n] for key in keys], np.int64) for n in (0, 1))
    assert in_order(location, step).tolist() == sorted(range(len(keys)), key=lambda n: keys[n])


def test_segments_tell_where_groups_begin_and_the_end() -> None:
    assert segments(ints(3, 3, 7, 9, 9)).tolist() == [0, 2, 3, 5]
    assert segments(ints()).tolist() == [0]


def test_quantiles_by_group() -> None:
    groups, middle, counts = quantiles(ints(0, 0, 0, 4), np.array([3.0, 1.0, 2.0, 9.0]))
    assert (groups.tolist(), middle.tolist(), counts.tolist()) == ([0, 4], [2.0, 9.0], [3, 1])
    assert quantiles(ints(0, 0), np.array([0.0, 10.0]), 0.95)[1].tolist() == [9.5]
    assert quantiles(ints(), np.array([]))[1].tolist() == []


@given(arrays.arrays(np.float64, st.integers(1, 120), elements=st.floats(-1e6, 1e6)), st.floats(0, 1))
def test_few_long_groups_have_the_quantiles_of_many_short_ones(values: np.ndarray, level: float) -> None:
    # One group of all is selected, groups of one are sorted: both are what numpy says.
    (_, one, _), (_, many, _) = (
        quantiles(np.zeros(len(values), np.int64), values, level),
        quantiles(np.arange(len(values)), values, level),
    )
    assert one[0] == pytest.approx(np.quantile(values, level), abs=1e-6)
    assert many.tolist() == values.tolist()


def test_the_spread_of_normal_values_is_their_standard_deviation() -> None:
    values = np.random.default_rng(0).normal(5, 2, 20_000)
    center, scale, count = spread(np.zeros(len(values), np.int64), values)
    assert center[0] == pytest.approx(5, abs=0.05)
    assert scale[0] == pytest.approx(2, rel=0.03)
    assert count[0] == 20_000


def test_a_long_tail_widens_the_spread_and_a_constant_has_none() -> None:
    values = np.array([0.0] * 5 + [1.0] * 5 + [-1.0] * 5 + [100.0] * 2)  # median 0, median deviation 1
    _, scale, _ = spread(np.zeros(17, np.int64), values)
    assert scale[0] == pytest.approx(100 / 1.96)
    assert spread(np.zeros(3, np.int64), np.full(3, 7.0))[1].tolist() == [0.0, 0.0, 0.0]


def test_missing_values_are_left_out() -> None:
    series = Series(ints(0, 0, 1), ints(1, 2, 1), np.array([1.0, np.nan, 3.0])).present()
    assert (len(series), series.location.tolist(), series.value.tolist()) == (2, [0, 1], [1.0, 3.0])
