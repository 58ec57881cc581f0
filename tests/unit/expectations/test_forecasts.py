import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from expectations.forecasts import check_forecast

LIMITS = [(0.0, 60.0), (None, None)]


def check_named(quantiles: NDArray[np.float32]) -> list[str]:
    return check_forecast(
        quantiles, LIMITS, leads=3, targets=["wind_speed", "flow"], locations=["A", "B"], levels=[0.1, 0.5, 0.9]
    )


@pytest.fixture
def good() -> NDArray[np.float32]:
    """Shape (lead 3, target 2, location 2, quantile 3)."""
    return np.broadcast_to(np.array([1.0, 2.0, 3.0], np.float32), (3, 2, 2, 3)).copy()


def test_a_sound_forecast_has_no_fault(good: NDArray[np.float32]) -> None:
    good[0, 0, 0] = [0, 0, 60]  # at the limits, and equal quantiles
    good[0, 1, 0] = [-1e9, 0, 1e9]  # open limits
    assert check_named(good) == []
    assert check_forecast(good, LIMITS) == []


@pytest.mark.parametrize(
    ("at", "value", "fault"),
    [
        ((1, 0, 1, 2), np.nan, "wind_speed: 1 of 18 values are not finite, first nan"),
        ((1, 1, 1, 2), np.inf, "flow: 1 of 18 values are not finite, first inf"),
        ((1, 0, 1, 2), 1.5, "wind_speed: 1 of 18 values are below the quantile before, first 1.5"),
        ((1, 0, 1, 2), 61.0, "wind_speed: 1 of 18 values are above 60.0, first 61"),
    ],
)
def test_each_fault_is_told_with_its_place(
    good: NDArray[np.float32], at: tuple[int, int, int, int], value: float, fault: str
) -> None:
    good[at] = value
    assert check_named(good) == [f"{fault} at lead 2, location B, quantile 0.9"]


def test_without_names_the_places_are_numbers(good: NDArray[np.float32]) -> None:
    good[0, 0, 0, 0] = -1
    assert check_forecast(good, LIMITS) == [
        "target 0: 1 of 18 values are below 0.0, first -1 at lead 1, location 0, quantile 0"
    ]


def test_an_incomplete_forecast_is_refused(good: NDArray[np.float32]) -> None:
    assert check_named(good[:2, :, :1]) == ["2 leads, not 3", "1 locations, not 2"]
    assert check_forecast(good, LIMITS[:1]) == ["limits of 1 targets for 2"]


@pytest.mark.parametrize("shape", [(0, 2, 2, 3), (3, 2, 2, 0), (3, 2, 2)])
def test_an_empty_or_misshapen_forecast_is_refused(shape: tuple[int, ...]) -> None:
    (fault,) = check_forecast(np.zeros(shape, np.float32), LIMITS)
    assert fault == f"shape {shape} is not (lead, target, location, quantile)"


def test_a_limit_that_float32_cannot_hold_bars_no_value_clipped_to_it() -> None:
    clipped = np.full((1, 1, 1, 1), 0.1, np.float32)  # 0.100000001...
    assert check_forecast(clipped, [(None, 0.1)]) == []


@given(st.lists(st.floats(0, 60), min_size=3, max_size=3))
def test_sorted_values_within_limits_are_sound(values: list[float]) -> None:
    quantiles = np.sort(values).reshape(1, 1, 1, 3)
    assert check_forecast(quantiles, [(0, 60)]) == []
    falls = quantiles[..., ::-1]
    assert bool(check_forecast(falls, [(0, 60)])) == (len(set(values)) > 1)
