"""Files of arrays as rows, whatever their format."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.errors import ConfigError, ContractError, NoDataError, SourceError
from pipeline.ingest.decoding.gridded import decode as decoding
from pipeline.ingest.sources import open_source
from pipeline.locations import read_locations
from tests.unit.ingest.decoding.grids import (
    TIMES,
    VALUES,
    cells,
    decode,
    make_dataset,
    make_feed,
    netcdf,
    npz,
    zarr_folder,
    zipped,
)

EXPECTED = {
    (f"0{1 + hour}:00", f"r00{row}c00{column}"): float(hour * 12 + row * 4 + column)
    for hour in range(2)
    for row in range(3)
    for column in range(4)
}


def written(form: str, folder: Path) -> bytes:
    dataset = make_dataset()
    if form == "netcdf":
        return netcdf(dataset, folder)
    if form == "netcdf, classic":
        return netcdf(dataset, folder, form="NETCDF3_CLASSIC")
    if form == "netcdf, 64-bit offsets":
        return netcdf(dataset, folder, form="NETCDF3_64BIT")
    if form == "zarr, version 3":
        return zipped(zarr_folder(dataset, folder / "z"))
    if form == "zarr, version 2":
        return zipped(zarr_folder(dataset, folder / "z", version=2), inside="z.zarr/")
    return npz(t=VALUES, time=TIMES, lat=[52.0, 51, 50], lon=[-2.0, -1, 0, 1])


FORMS = ("netcdf", "netcdf, classic", "netcdf, 64-bit offsets", "zarr, version 2", "zarr, version 3", "npz")


@pytest.mark.parametrize("form", FORMS)
def test_every_format_gives_the_same_rows_in_the_same_order(tmp_path: Path, form: str) -> None:
    decoded = decode(make_feed(tmp_path, format=form.partition(",")[0]), written(form, tmp_path))
    assert cells(decoded) == EXPECTED
    assert list(cells(decoded)) == list(EXPECTED)  # by time, then row by row
    assert decoded.refused.num_rows == 0
    assert decoded.notes == ()
    assert str(decoded.rows.schema.field("valid_time").type) == "timestamp[us, tz=UTC]"


@pytest.mark.parametrize("kind", ["gzip", "bz2", "xz", "zstd"])
def test_a_file_may_be_compressed_as_a_whole(tmp_path: Path, kind: str) -> None:
    import bz2
    import gzip
    import lzma

    import zstandard

    press: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "bz2": bz2.compress,
        "xz": lzma.compress,
        "zstd": zstandard.compress,
    }
    decoded = decode(make_feed(tmp_path, compression=kind), press[kind](written("netcdf", tmp_path)))
    assert cells(decoded) == EXPECTED


def test_a_cell_without_a_value_is_no_row_and_one_of_two_values_is_enough(tmp_path: Path) -> None:
    first, second = VALUES.copy(), VALUES.copy()
    first[0, 0, :2] = np.nan
    second[0, 0, 1:3] = np.nan
    feed = make_feed(tmp_path, format="npz", variables={"t": {"units": "K"}, "u": {"units": "m s-1"}})
    content = npz(t=first, u=second, time=TIMES, lat=[52.0, 51, 50], lon=[-2.0, -1, 0, 1])
    rows = decode(feed, content).rows.slice(0, 4).to_pylist()
    assert [(row["location"], row["t"], row["u"]) for row in rows] == [
        ("r000c000", None, 0.0),
        ("r000c002", 2.0, None),
        ("r000c003", 3.0, 3.0),
        ("r001c000", 4.0, 4.0),
    ]


def test_an_infinite_cell_is_refused_alone(tmp_path: Path) -> None:
    values = VALUES.copy()
    values[1, 2, 3] = -np.inf
    decoded = decode(make_feed(tmp_path), netcdf(make_dataset(values), tmp_path))
    assert decoded.rows.num_rows == 23
    (row,) = decoded.refused.to_pylist()
    assert row == {
        "valid_time": datetime(2020, 1, 1, 2, tzinfo=UTC),
        "location": "r002c003",
        "values": '{"t": "-inf"}',
        "reason": "t: '-inf' is not a number",
        "reasons": '[{"kind":"invalid_number","variable":"t","value":"-inf"}]',
    }


def test_numbers_that_mean_no_value_are_those_of_the_file_before_scaling(tmp_path: Path) -> None:
    packed = (VALUES * 100).astype("uint16")
    packed[0, 0, 0] = 65535
    feed = make_feed(tmp_path, format="npz", missing=["65535", "NA"], grid={"scale": {"t": 0.01}})
    found = cells(decode(feed, npz(t=packed, time=TIMES, lat=[52.0, 51, 50], lon=[-2.0, -1, 0, 1])))
    assert found == pytest.approx({key: value for key, value in EXPECTED.items() if value})


def test_a_number_that_means_no_value_is_found_in_single_precision(tmp_path: Path) -> None:
    values = VALUES.astype("float32")
    values[0, 0, 0] = -999.9  # which is not the double of that name
    feed = make_feed(tmp_path, missing=["-999.9"])
    assert decode(feed, netcdf(make_dataset(values), tmp_path)).rows.num_rows == 23


def test_blocks_of_frames_join_to_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = written("npz", tmp_path)
    whole = decode(make_feed(tmp_path, format="npz"), content).rows
    monkeypatch.setattr(decoding, "_BLOCK", 1)
    pieces = decode(make_feed(tmp_path, format="npz"), content).rows
    assert pieces.column("t").num_chunks == 2
    assert pieces.combine_chunks() == whole.combine_chunks()


def test_stamps_of_starts_move_to_the_end_of_the_period(tmp_path: Path) -> None:
    feed = make_feed(tmp_path, time={"label": "start"})
    found = cells(decode(feed, written("netcdf", tmp_path)))
    assert {hour for hour, _ in found} == {"02:00", "03:00"}


def test_a_zone_of_the_product_holds_for_stamps_without_one(tmp_path: Path) -> None:
    feed = make_feed(tmp_path, time={"zone": "Europe/Helsinki"})  # UTC+2 in winter
    found = cells(decode(feed, written("netcdf", tmp_path)))
    assert {hour for hour, _ in found} == {"23:00", "00:00"}


def test_a_frame_without_a_time_is_refused_as_one_row_that_counts_its_cells(tmp_path: Path) -> None:
    times = np.array(["NaT", "2020-01-01T02"], "datetime64[s]")
    values = VALUES.copy()
    values[0, 0] = np.nan
    content = npz(t=values, time=times, lat=[52.0, 51, 50], lon=[-2.0, -1, 0, 1])
    decoded = decode(make_feed(tmp_path, format="npz"), content)
    assert cells(decoded) == {key: value for key, value in EXPECTED.items() if key[0] == "02:00"}
    (row,) = decoded.refused.to_pylist()
    assert (row["valid_time"], row["location"], row["reason"]) == (None, None, "time: the time stamp is missing")
    assert json.loads(row["values"]) == {"time": None, "cells": 8}


def test_irregular_frames_stand_for_the_next_point_of_the_time_grid(tmp_path: Path) -> None:
    times = np.array(["2020-01-01T00:40", "2020-01-01T00:55"], "datetime64[s]")
    feed = make_feed(tmp_path, format="npz", time={"resample": "30min"})
    decoded = decode(feed, npz(t=VALUES, time=times, lat=[52.0, 51, 50], lon=[-2.0, -1, 0, 1]))
    assert cells(decoded) == {("01:00", cell): value for (hour, cell), value in EXPECTED.items() if hour == "02:00"}
    assert decoded.downsampled == 12


def test_values_come_in_the_unit_of_the_stores(tmp_path: Path) -> None:
    feed = make_feed(tmp_path, variables={"air_temperature": {"source_name": "t", "units": "degC"}})
    decoded = decode(feed, netcdf(make_dataset(VALUES + 273.15, attrs={"units": "K"}), tmp_path))
    assert cells(decoded, "air_temperature") == pytest.approx(EXPECTED, abs=1e-9)


def test_a_forecast_of_a_covariate_became_known_when_it_was_made_and_had_arrived(tmp_path: Path) -> None:
    dataset = make_dataset().assign_coords(made=((), TIMES[0] - np.timedelta64(3, "h")))
    dataset["made"].attrs["standard_name"] = "forecast_reference_time"
    feed = make_feed(tmp_path, covariate=True, delay="2h")
    rows = decode(feed, netcdf(dataset, tmp_path)).rows
    assert rows.schema.names == ["valid_time", "location", "known_at", "t"]
    assert set(rows["known_at"].to_pylist()) == {datetime(2020, 1, 1, 0, tzinfo=UTC)}
    with pytest.raises(ContractError, match=r"^x: no coordinate of standard name forecast_reference_time"):
        decode(feed, written("netcdf", tmp_path))


def test_two_variables_at_other_times_want_feeds_of_their_own(tmp_path: Path) -> None:
    dataset = make_dataset().assign(u=(("time", "latitude", "longitude"), VALUES))
    other = xr.Dataset(
        {"u": (("later", "latitude", "longitude"), VALUES)},
        coords={"later": ("later", TIMES + np.timedelta64(1, "h"), {"standard_name": "time"})},
    )
    feed = make_feed(tmp_path, variables={"t": {"units": "K"}, "u": {"units": "K"}})
    assert decode(feed, netcdf(dataset, tmp_path)).rows.num_rows == 24
    with pytest.raises(ContractError, match=r"^x: variable 'u' does not run along 'time'$"):
        decode(feed, netcdf(make_dataset().merge(other), tmp_path))


def test_an_empty_payload_is_no_data(tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match=r"^x: the payload is empty$"):
        decode(make_feed(tmp_path), b"")


def test_a_file_without_frames_has_no_rows(tmp_path: Path) -> None:
    content = npz(t=VALUES[:0], time=TIMES[:0], lat=[52.0, 51, 50], lon=[-2.0, -1, 0, 1])
    decoded = decode(make_feed(tmp_path, format="npz"), content)
    assert (decoded.rows.num_rows, decoded.refused.num_rows) == (0, 0)


@pytest.mark.parametrize("form", FORMS)
def test_what_takes_more_than_the_limit_is_refused_before_it_is_read(tmp_path: Path, form: str) -> None:
    zeros = make_dataset(np.zeros((2, 300, 400)), latitude=np.arange(300.0) / 10, longitude=np.arange(400.0) / 10)
    form, _, variant = form.partition(", ")
    if form == "netcdf":
        content = netcdf(zeros, tmp_path, **({} if variant else {"t": {"zlib": True}}))
    elif form == "zarr":
        content = zipped(zarr_folder(zeros, tmp_path / "z"))
    else:
        content = npz(t=zeros.t.values, time=TIMES, lat=zeros.latitude.values, lon=zeros.longitude.values)
    grid = {"latitude": {"start": 0, "step": 0.1, "count": 300}, "longitude": {"start": 0, "step": 0.1, "count": 400}}
    assert decode(make_feed(tmp_path, format=form, locations=grid), content).rows.num_rows == 240_000
    with pytest.raises(SourceError, match=r"^x: .* more than .*max_bytes, 1000000"):
        decode(make_feed(tmp_path, format=form, locations=grid, max_bytes=1_000_000), content)


def test_cells_need_a_grid_and_stations_a_dimension(tmp_path: Path) -> None:
    stations = {"kind": "stations", "path": "stations.csv", "latitude": "latitude", "longitude": "longitude"}
    (tmp_path / "stations.csv").write_text("id,name,longitude,latitude\na,A,0,51\n")
    feed = make_feed(tmp_path, locations=stations)
    with pytest.raises(ConfigError, match=r"^test: feed\.locations: netcdf holds a grid"):
        open_source(feed, read_locations(feed))
    named = make_feed(tmp_path, locations=stations, grid={"station": "station"})
    assert open_source(named, read_locations(named)) is not None


def test_grib_without_its_package_is_told_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = make_feed(tmp_path, format="grib")
    monkeypatch.setattr("pipeline.ingest.sources.files.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'nightcast\[grib\]'$"):
        open_source(feed, read_locations(feed))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=hnp.arrays("float32", (2, 3, 4), elements=st.floats(-1e6, 1e6, width=32) | st.just(np.nan)),
    rows=st.permutations(range(3)),
    columns=st.permutations(range(4)),
    turned=st.booleans(),
)
def test_the_order_of_rows_columns_and_dimensions_in_the_file_changes_nothing(
    tmp_path: Path, values: np.ndarray, rows: list[int], columns: list[int], turned: bool
) -> None:
    straight = make_dataset(values)
    mixed = straight.isel(latitude=rows, longitude=columns)
    if turned:
        mixed = mixed.transpose("longitude", "time", "latitude")
    feed = make_feed(tmp_path)
    expected, found = (decode(feed, netcdf(dataset, tmp_path)).rows for dataset in (straight, mixed))
    assert found == expected
    assert found.num_rows == np.isfinite(values).sum()
