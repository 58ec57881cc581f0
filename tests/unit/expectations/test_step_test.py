import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expectations.series import Series
from expectations.step_test import changes_per_step

NAN = float("nan")


def series(values: list[float], steps: list[int] | None = None, locations: list[int] | None = None) -> Series:
    return Series(
        np.array(locations if locations is not None else [0] * len(values), np.int64),
        np.array(steps if steps is not None else range(len(values)), np.int64),
        np.array(values, np.float64),
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 4, 3], [0, 1, 2, 1]),
        ([1, 50, 2], [0, 49, 0]),  # the spike, not the return
        ([1, 50, 51], [0, 49, 1]),  # a new level
        ([1, 50, 49, 2], [0, 49, 1, 47]),  # two at once are no single spike
        ([0, 100, 0, 100, 0], [0, 100, 0, 100, 0]),
        ([1, NAN, 50, 2], [0, 0, 24.5, 0]),  # two steps; the way back is long as well
        ([5], [0]),
        ([NAN, NAN], [0, 0]),
        ([], []),
    ],
)
def test_the_change_per_step(values: list[float], expected: list[float]) -> None:
    assert changes_per_step(series(values), 10.0).tolist() == expected


def test_a_change_across_a_gap_counts_per_step_and_none_from_another_location() -> None:
    assert changes_per_step(series([0, 30], [0, 3]), 5.0).tolist() == [0, 10]
    assert changes_per_step(series([0, 30], [0, 1], [0, 1]), 5.0).tolist() == [0, 0]


@given(st.lists(st.floats(-100, 100) | st.just(NAN), max_size=30), st.floats(0.1, 50))
def test_a_shift_changes_nothing_and_a_location_stands_alone(values: list[float], limit: float) -> None:
    whole = [round(value) if value == value else value for value in values]  # exact under a shift
    alone = changes_per_step(series(whole), limit)
    assert changes_per_step(series([value + 1024 for value in whole]), limit).tolist() == alone.tolist()
    both = changes_per_step(series(whole + whole, [*range(len(whole))] * 2, [0] * len(whole) + [1] * len(whole)), limit)
    assert both.tolist() == alone.tolist() * 2
    assert (alone >= 0).all()


def test_infinite_changes_do_not_warn() -> None:
    assert changes_per_step(series([-1e308, 1e308, -1e308]), 10.0).tolist() == [0, np.inf, 0]
