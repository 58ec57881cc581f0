"""The time coordinate of files of arrays, in what CF allows and in what is found in the wild."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ContractError
from pipeline.ingest.decoding.gridded.times import read_times
from tests.unit.ingest.decoding.grids import TIMES, VALUES, cells, decode, make_dataset, make_feed, netcdf, npz


def raw(folder: Path, stamps: Any, dtype: str = "f8", name: str = "time", **attributes: Any) -> bytes:
    """A NetCDF file as another program would write it: nothing but what is said."""
    path = folder / "raw.nc"
    with netCDF4.Dataset(path, "w") as file:
        for dimension, points in {"lat": [52.0, 51, 50], "lon": [-2.0, -1, 0, 1]}.items():
            file.createDimension(dimension, len(points))
            file.createVariable(dimension, "f4", (dimension,))[:] = points
        file.createDimension("time", len(stamps))
        time = file.createVariable(name, dtype, ("time",))
        time.setncatts(attributes)
        time[:] = stamps
        file.createVariable("t", "f4", ("time", "lat", "lon"))[:] = VALUES[: len(stamps)]
    return path.read_bytes()


def hours(feed: Any, content: bytes) -> list[datetime]:
    return sorted(set(decode(feed, content).rows["valid_time"].to_pylist()))


@pytest.mark.parametrize(
    ("stamps", "units", "expected"),
    [
        ([0, 1], "hours since 2020-01-01 01:00", (1, 2)),
        ([3600, 7200], "seconds since 2020-01-01T00:00:00Z", (1, 2)),
        ([1 / 24, 2 / 24], "days since 2020-1-1", (1, 2)),  # which no double is exactly
        ([43829 + 1 / 24, 43829 + 2 / 24], "days since 1900-01-01 00:00:00", (1, 2)),
        ([3, 4], "hours since 2020-01-01 00:00 +02:00", (1, 2)),
        ([1577840400000, 1577844000000], "milliseconds since 1970-01-01", (1, 2)),
        ([1577840400000000, 1577844000000000], "microseconds since 1970-01-01", (1, 2)),
        # The first day of the mixed calendar is a Julian one: 737426 days before 2020, not 737424.
        ([737426 * 24 + 1, 737426 * 24 + 2], "hours since 1-1-1 00:00:0.0", (1, 2)),
    ],
)
def test_numbers_are_read_by_their_units(
    tmp_path: Path, stamps: list[float], units: str, expected: tuple[int, ...]
) -> None:
    found = hours(make_feed(tmp_path), raw(tmp_path, stamps, units=units))
    assert found == [datetime(2020, 1, 1, hour, tzinfo=UTC) for hour in expected]


@pytest.mark.parametrize("misspelt", ["Unit", "Units", "unit", "UNITS"])
def test_units_under_a_misspelt_name_are_read_and_noted(tmp_path: Path, misspelt: str) -> None:
    content = raw(tmp_path, [37256, 37257], **{misspelt: "days since 1900-1-1"})
    decoded = decode(make_feed(tmp_path, step="1d"), content)
    assert sorted(set(decoded.rows["valid_time"].to_pylist())) == [
        datetime(2002, 1, 2, tzinfo=UTC),  # 102 years of 365 days and 25 leap days make 37255 days to 2002
        datetime(2002, 1, 3, tzinfo=UTC),
    ]
    assert decoded.notes == (
        f"time has its units in the attribute '{misspelt}' instead of 'units': days since 1900-1-1",
    )


@pytest.mark.parametrize("calendar", ["noleap", "365_day", "360_day", "julian", "all_leap", "none", "lunar\n"])
def test_a_calendar_with_other_days_is_refused(tmp_path: Path, calendar: str) -> None:
    with pytest.raises(ContractError, match=r"^x: time counts by the calendar '.*'; only the standard one") as caught:
        decode(make_feed(tmp_path), raw(tmp_path, [0, 1], units="days since 2000-01-01", calendar=calendar))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("calendar", ["standard", "gregorian", "Gregorian", "proleptic_gregorian"])
def test_calendars_of_the_world_are_one_today(tmp_path: Path, calendar: str) -> None:
    content = raw(tmp_path, [1, 2], units="hours since 2020-01-01", calendar=calendar)
    assert [found.hour for found in hours(make_feed(tmp_path), content)] == [1, 2]


@pytest.mark.parametrize("units", ["months since 2000-01-01", "fortnights since 2000-01-01", "days since yesterday"])
def test_units_that_are_no_span_are_refused(tmp_path: Path, units: str) -> None:
    with pytest.raises(ContractError, match=f"^x: time cannot be read as '{units}'"):
        decode(make_feed(tmp_path), raw(tmp_path, [0, 1.5], units=units))


@pytest.mark.parametrize("attributes", [{}, {"units": "hours"}, {"units": 3}])
def test_numbers_without_units_are_refused(tmp_path: Path, attributes: dict[str, Any]) -> None:
    with pytest.raises(ContractError, match=r"^x: time holds numbers without units; add an attribute units"):
        decode(make_feed(tmp_path), raw(tmp_path, [0, 1], **attributes))


def test_seconds_since_1970_may_be_said_by_the_product(tmp_path: Path) -> None:
    stamps = TIMES.astype("datetime64[s]").astype("int64")
    content = npz(t=VALUES, time=stamps, lat=[52.0, 51, 50], lon=[-2.0, -1, 0, 1])
    feed = make_feed(tmp_path, format="npz", time={"format": "%s"})
    assert [found.hour for found in hours(feed, content)] == [1, 2]


def test_text_is_read_as_in_tables(tmp_path: Path) -> None:
    content = npz(t=VALUES, time=["2020-01-01T01:00Z", "2020-01-01 02:00"], lat=[52.0, 51, 50], lon=[-2.0, -1, 0, 1])
    assert [found.hour for found in hours(make_feed(tmp_path, format="npz"), content)] == [1, 2]


def test_a_time_that_was_never_written_is_refused_alone(tmp_path: Path) -> None:
    stamps = np.ma.masked_array([1, 2], mask=[True, False])
    decoded = decode(make_feed(tmp_path), raw(tmp_path, stamps, "i4", units="hours since 2020-01-01"))
    assert {hour for hour, _ in cells(decoded)} == {"02:00"}
    assert decoded.refused["reason"].to_pylist() == ["time: the time stamp is missing"]


@pytest.mark.parametrize("stamp", [1e12, -1e12, 3e8])
def test_a_time_beyond_all_years_is_refused_alone(tmp_path: Path, stamp: float) -> None:
    decoded = decode(make_feed(tmp_path), raw(tmp_path, [stamp, 2], units="days since 2020-01-01"))
    assert {hour for hour, _ in cells(decoded)} == {"00:00"}
    assert decoded.refused["reason"].to_pylist() == ["time: the time stamp is missing"]


def test_a_time_coordinate_of_another_name_is_found_by_its_standard_name(tmp_path: Path) -> None:
    content = raw(tmp_path, [1, 2], name="when", units="hours since 2020-01-01", standard_name="time")
    assert [found.hour for found in hours(make_feed(tmp_path), content)] == [1, 2]
    content = raw(tmp_path, [1, 2], name="when", units="hours since 2020-01-01")
    assert [found.hour for found in hours(make_feed(tmp_path, grid={"time": "when"}), content)] == [1, 2]
    with pytest.raises(ContractError, match=r"no coordinate 'time' of time; it has .*when.*; name it in feed\.source"):
        decode(make_feed(tmp_path), content)


def test_the_time_a_forecast_was_made_is_not_the_time_it_is_for(tmp_path: Path) -> None:
    dataset = make_dataset().rename(time="leading").assign_coords(time=((), TIMES[0] - np.timedelta64(1, "D")))
    dataset["time"].attrs["standard_name"] = "forecast_reference_time"
    dataset["leading"].attrs["standard_name"] = "time"
    assert [found.hour for found in hours(make_feed(tmp_path), netcdf(dataset, tmp_path))] == [1, 2]


def test_one_time_may_be_no_dimension(tmp_path: Path) -> None:
    dataset = make_dataset().isel(time=1)
    decoded = decode(make_feed(tmp_path), netcdf(dataset, tmp_path))
    assert list(cells(decoded).values()) == list(range(12, 24))


def test_a_variable_that_does_not_change_has_no_rows_of_its_own(tmp_path: Path) -> None:
    dataset = make_dataset().assign(u=(("latitude", "longitude"), VALUES[0]))
    with pytest.raises(ContractError, match=r"^x: variable 'u' does not run along 'time'$"):
        decode(make_feed(tmp_path, variables={"u": {"units": "K"}}), netcdf(dataset, tmp_path))


def seconds(first: str, last: str) -> st.SearchStrategy[datetime]:
    return st.integers(*(int(np.datetime64(year, "s").astype(int)) for year in (first, last))).map(
        lambda count: datetime(1970, 1, 1) + timedelta(seconds=count)  # noqa: DTZ001 - CF names no zone
    )


@settings(max_examples=200)
@given(
    seconds("1900", "2200"),
    st.sampled_from([("days", 86400), ("hours", 3600), ("minutes", 60), ("seconds", 1)]),
    seconds("1850", "2100"),
)
def test_whole_seconds_survive_any_fraction_of_any_unit(when: datetime, unit: tuple[str, int], since: datetime) -> None:
    counted = (when - since) / timedelta(seconds=unit[1])
    variable = xr.Variable("time", [counted], {"units": f"{unit[0]} since {since:%Y-%m-%d %H:%M:%S}"})
    stamps, notes = read_times(variable, "time")
    assert stamps.to_pylist() == [when]
    assert notes == ()
