"""Known defects of real data, found by the checks as they are or by two lines of a product file."""

from __future__ import annotations

import json
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.config import Feed, Product
from pipeline.ingest.quality.checks import Validated, check_rows
from pipeline.ingest.sources import row_schema
from pipeline.locations import Locations, parse_angle

NOW = datetime(2026, 2, 1, tzinfo=UTC)


def folder(name: str) -> Path:
    root = os.environ.get("NIGHTCAST_REAL_DATA")
    if not root or not (Path(root) / name).is_dir():
        pytest.skip(f"NIGHTCAST_REAL_DATA has no {name}")
    return Path(root) / name


def feed_of(step: str, variables: dict[str, dict[str, Any]], **quality: Any) -> Feed:
    fields = {
        "name": "real",
        "feed": {
            "source": {"kind": "files", "path": "data.csv", "format": "csv"},
            "step": step,
            "mode": "archive",
            "locations": {"kind": "stations", "path": "stations.csv"},
            "variables": variables,
            "quality": quality,
        },
        "forecast": {"targets": [next(iter(variables))]},
    }
    return Product.model_validate_json(json.dumps(fields)).feed


def at(*ids: str, longitude: tuple[float, ...] = (), latitude: tuple[float, ...] = ()) -> Locations:
    count = len(ids)
    return Locations(ids, ids, longitude or (0.0,) * count, latitude or (0.0,) * count)


def rows_of(feed: Feed, times: pd.Series, location: list[str] | pd.Series, values: pd.DataFrame) -> pa.Table:
    columns = [
        pa.array(pd.to_datetime(times).to_numpy("datetime64[us]"), pa.timestamp("us", "UTC")),
        pa.array(list(location), pa.string()),
        *(pa.array(values[name].to_numpy(np.float64), pa.float64(), from_pandas=True) for name in feed.variables),
    ]
    return pa.Table.from_arrays(columns, schema=row_schema(feed))


def unexpected(checked: Validated) -> dict[str, int]:
    return {entry["check"]: entry["unexpected"] for entry in checked.report["checks"] if not entry["success"]}


def mast(names: list[str], **quality: Any) -> Validated:
    data = pd.read_parquet(folder("dirty_cases") / "brightwind_metmast_10min.parquet")
    units = {"Dir78mS": "degree", "Spd80mN": "m s-1", "T2m": "degC", "RH2m": "%"}
    limits = {"Dir78mS": [0, 360], "Spd80mN": [0, 60], "T2m": [-60, 60], "RH2m": [0, 105]}
    named = {name.lower(): {"units": units[name], "limits": limits[name]} for name in names}
    feed = feed_of("10min", named, **quality)
    rows = rows_of(feed, data["Timestamp"], ["mast"] * len(data), data.rename(columns=str.lower))
    return check_rows(rows, feed, at("mast"), now=NOW)


def test_the_frozen_vane_of_the_met_mast_is_found() -> None:
    checked = mast(["Dir78mS"])
    (warning,) = checked.warnings
    assert warning.startswith("15,029 values of dir78ms at 1 location in runs of more than 144 equal values")
    assert "the longest has 15,029 values of 200.5 degree at mast, 2017-08-" in warning
    assert unexpected(checked) == {"persistence": 15_029}
    assert checked.refused.num_rows == 0


def test_its_rows_are_refused_when_the_product_says_so() -> None:
    checked = mast(["Dir78mS"], checks={"persistence": "row"})
    assert checked.warnings == ()
    assert checked.refused.num_rows == 15_029
    first = checked.refused["reason"][0].as_py()
    assert first == "dir78ms 200.5 degree stays the same for 15029 values, more than 144"


def test_the_iced_anemometer_is_found_and_the_sound_sensors_are_not() -> None:
    checked = mast(["Spd80mN", "T2m", "RH2m"])
    (warning,) = checked.warnings
    assert warning.startswith("46 values of spd80mn at 1 location in runs of more than 12")  # 27 and 19
    assert "the longest has 27 values of 0.215 m s-1" in warning


def test_the_impossible_wind_of_newark_is_refused_by_its_limits_and_told_as_a_jump() -> None:
    data = pd.read_parquet(folder("dirty_cases") / "nycflights13_weather_hourly_2013.parquet")
    data["time"] = pd.to_datetime(data["time_hour"]).dt.tz_localize(None)
    data = data.drop_duplicates(["time", "origin"], keep="last").rename(columns={"temp": "air_temperature"})
    places = at("EWR", "JFK", "LGA", longitude=(-74.17, -73.78, -73.87), latitude=(40.69, 40.64, 40.78))
    variables: dict[str, dict[str, Any]] = {
        "wind_speed": {"units": "mph"},
        "air_temperature": {"units": "degF"},
    }
    feed = feed_of("1h", variables)
    checked = check_rows(rows_of(feed, data["time"], data["origin"], data), feed, places, now=NOW)
    assert checked.warnings == ()
    (row,) = checked.refused.to_pylist()
    assert (row["location"], row["reason"][:23]) == ("EWR", "wind_speed 1048.36058 m")

    variables["wind_speed"]["limits"] = [0, 2000]
    feed = feed_of("1h", variables, checks={"step": {"wind_speed": 60, "severity": "row"}})
    checked = check_rows(rows_of(feed, data["time"], data["origin"], data), feed, places, now=NOW)
    (row,) = checked.refused.to_pylist()
    assert row["reason"].startswith("wind_speed 1048.36058 mph is a change of 10")


def footfall(**quality: Any) -> tuple[Validated, list[str]]:
    data = pd.read_parquet(folder("akl_pedestrian_hourly") / "hourly_counts_wide.parquet")
    table = pd.read_csv(folder("akl_pedestrian_hourly") / "locations.csv", skipinitialspace=True)
    table = table.set_index(table["Address"].str.strip())
    ids = [str(name) for name in data.columns[5:]]
    places = at(
        *ids,
        longitude=tuple(table.loc[ids, "Longitude"].astype(float)),
        latitude=tuple(table.loc[ids, "Latitude"].astype(float)),
    )
    feed = feed_of("1h", {"pedestrian_count": {}}, **quality)
    long = data.melt("time_fixed_local", ids, "place", "pedestrian_count").dropna()
    long = long.drop_duplicates(["time_fixed_local", "place"], keep="last")
    rows = rows_of(feed, long["time_fixed_local"], long["place"], long)
    return check_rows(rows, feed, places, now=NOW), ids


def test_the_dead_counter_of_auckland_is_found_and_refused_by_one_line() -> None:
    checked, ids = footfall()
    stuck, buddy = checked.warnings
    assert "runs of more than 12 equal values, the longest has 25,5" in stuck
    assert "of 0 at 107 Quay Street" in stuck
    assert "values of pedestrian_count" in buddy
    assert checked.refused.num_rows == 0
    assert len(checked.report["completeness"]["by_location"]) == len(ids) == 21
    # The counts of night hours are far below 2 % of zeros; nothing but zeros stands for half a day.
    refused, _ = footfall(checks={"persistence": {"after": "1d", "severity": "row"}, "buddy": "off"})
    rows = refused.refused.to_pandas()
    dead = rows[rows["location"] == "107 Quay Street"]
    assert 25_550 <= len(dead) <= 25_561
    assert set(rows["values"]) == {'{"pedestrian_count": 0.0}'}
    assert refused.warnings == ()


def test_eighteen_years_of_irish_wind_come_with_next_to_no_warning() -> None:
    data = pd.read_parquet(folder("irish_wind_daily") / "wind_knots_1961_1978.parquet")
    table = pd.read_csv(folder("irish_wind_daily") / "stations_raw.csv").set_index("Code")
    ids = [str(name) for name in data.columns[1:]]
    places = at(
        *ids,
        longitude=tuple(parse_angle(text) for text in table.loc[ids, "Longitude"]),
        latitude=tuple(parse_angle(text) for text in table.loc[ids, "Latitude"]),
    )
    feed = feed_of("1d", {"wind_speed": {"units": "knot"}})
    long = data.melt("time", ids, "place", "wind_speed")
    recent = None
    found: Counter[str] = Counter()
    for _, year in long.groupby(long["time"].dt.year):
        rows = rows_of(feed, year["time"], year["place"], year)
        checked = check_rows(rows, feed, places, now=NOW, recent=recent)
        assert checked.refused.num_rows == 0
        found.update(unexpected(checked))
        recent = rows
    assert found["buddy"] <= 3  # of 78,888 values
    assert set(found) <= {"buddy"}
