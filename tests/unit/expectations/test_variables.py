import pytest

from expectations.variables import KNOWN
from pipeline.units import check_units, convert


def test_every_variable_is_listed_under_its_own_name_with_words_for_people() -> None:
    for name, variable in KNOWN.items():
        assert variable.name == name
        assert variable.long_name
        assert check_units(variable.units) == variable.units


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_limits_are_ordered_and_leave_room_for_the_transform(name: str) -> None:
    low, high = KNOWN[name].limits
    assert low is not None
    assert high is not None
    assert low < high
    assert low >= 0 or KNOWN[name].transform == "identity"


@pytest.mark.parametrize(
    ("name", "record"),
    [  # WMO World Weather and Climate Extremes Archive
        ("wind_speed_of_gust", 113.2),  # Barrow Island, 1996
        ("air_temperature", 56.7),  # Furnace Creek, 1913
        ("air_temperature", -89.2),  # Vostok, 1983
        ("air_pressure_at_mean_sea_level", 870.0),  # Typhoon Tip, 1979
        ("air_pressure_at_mean_sea_level", 1089.4),  # Tosontsengel, 2004
        ("precipitation_amount", 1825.0),  # Foc-Foc, 24 hours, 1966
    ],
)
def test_world_records_are_within_the_limits(name: str, record: float) -> None:
    low, high = KNOWN[name].limits
    assert low is not None
    assert high is not None
    assert low <= record <= high


@pytest.mark.parametrize(("low", "high"), [(-10.0, 35.0)])
def test_kelvin_taken_for_celsius_is_outside_the_limits(low: float, high: float) -> None:
    import numpy as np

    kelvin = convert(np.array([low, high]), "degC", "K")
    _, highest = KNOWN["air_temperature"].limits
    assert highest is not None
    assert (kelvin > highest).all()
