"""Cells of files matched to those of products by the values of coordinates, by position, and as stations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.config.feed import Axis
from pipeline.errors import ContractError
from pipeline.ingest.decoding.gridded.axes import match_axis
from tests.unit.ingest.decoding.grids import TIMES, VALUES, cells, decode, make_dataset, make_feed, netcdf, npz


def matched(points: list[float], start: float, step: float, count: int, *, around: bool = False) -> list[int]:
    index: list[int] = match_axis(np.array(points), Axis(start=start, step=step, count=count), around=around).tolist()
    return index


def test_points_match_within_a_hundredth_of_a_step() -> None:
    assert matched([50.0, 50.0024, 50.2476, 50.2474, 50.125], 50, 0.25, 2) == [0, -1, 1, -1, -1]
    assert matched([52.0, 51, 50, 49], 52, -1, 3) == [0, 1, 2, -1]
    assert matched([np.nan, np.inf, -np.inf, 50], 50, 1, 1) == [-1, -1, -1, 0]


def test_longitudes_match_around_the_globe() -> None:
    assert matched([358, 359, 0, 1, 2], -2, 1, 4, around=True) == [0, 1, 2, 3, -1]
    assert matched([-2.0, -1, 0, 1], 358, 1, 2, around=True) == [0, 1, -1, -1]
    assert matched([-180, 179.999, 180], 180, 0.5, 1, around=True) == [0, -1, -1]  # 180 stands twice
    assert matched([10, 9, 8], 370 - 360, -1, 3, around=True) == [0, 1, 2]
    assert matched([358, 2], -2, 1, 4) == [-1, -1]


def test_single_precision_is_no_reason_to_lose_a_fine_grid() -> None:
    fine = np.arange(1000) * 0.001 + 179
    axis = Axis(start=179, step=0.001, count=1000)
    assert match_axis(fine.astype("float32"), axis, around=True).tolist() == list(range(1000))
    assert (match_axis(fine + 0.0002, axis, around=True) == -1).all()


@given(
    st.integers(-1440, 1439).map(lambda quarter: quarter / 8),
    st.sampled_from([0.05, 0.1, 0.25, 1 / 3, 1.0, 2.5, -0.1, -0.25, -1.0]),
    st.integers(1, 60),
    st.data(),
)
def test_every_point_of_an_axis_is_found_whichever_turn_it_is_given_in(
    start: float, step: float, count: int, data: st.DataObject
) -> None:
    axis = Axis(start=start, step=step, count=count)
    places = data.draw(st.permutations(range(count)))
    turns = np.array(data.draw(st.lists(st.sampled_from([-360, 0, 360]), min_size=count, max_size=count)))
    points = start + step * np.array(places) + turns
    assert match_axis(points, axis, around=True).tolist() == list(places)
    assert (match_axis(points + step / 2, axis, around=True) == -1).all()


@pytest.mark.parametrize(
    "longitude", [[-2.0, -1, 0, 1], [358.0, 359, 0, 1], [358.0, 359, 360, 361]], ids=["signed", "0 to 360", "unwound"]
)
def test_a_file_may_count_longitudes_its_own_way(tmp_path: Path, longitude: list[float]) -> None:
    decoded = decode(make_feed(tmp_path), netcdf(make_dataset(longitude=longitude), tmp_path))
    assert list(cells(decoded).values()) == list(range(24))


def test_cells_off_the_product_are_left_out_and_cells_off_the_file_are_no_rows(tmp_path: Path) -> None:
    grid = {"latitude": {"start": 53, "step": -1, "count": 3}, "longitude": {"start": -1, "step": 1, "count": 2}}
    decoded = decode(make_feed(tmp_path, locations=grid), netcdf(make_dataset(), tmp_path))
    assert cells(decoded) == {
        ("01:00", "r001c000"): 1.0,  # 52 north, 1 west
        ("01:00", "r001c001"): 2.0,
        ("01:00", "r002c000"): 5.0,
        ("01:00", "r002c001"): 6.0,
        ("02:00", "r001c000"): 13.0,
        ("02:00", "r001c001"): 14.0,
        ("02:00", "r002c000"): 17.0,
        ("02:00", "r002c001"): 18.0,
    }
    assert decoded.notes == ()


def test_a_product_may_take_every_other_cell_by_value(tmp_path: Path) -> None:
    grid = {"latitude": {"start": 50, "step": 2, "count": 2}, "longitude": {"start": -2, "step": 2, "count": 2}}
    decoded = decode(make_feed(tmp_path, locations=grid), netcdf(make_dataset(), tmp_path))
    assert list(cells(decoded).values()) == [8, 10, 0, 2, 20, 22, 12, 14]


def test_no_common_cell_is_refused_with_both_ranges(tmp_path: Path) -> None:
    grid = {"latitude": {"start": 12, "step": -1, "count": 3}}
    with pytest.raises(ContractError) as caught:
        decode(make_feed(tmp_path, locations=grid), netcdf(make_dataset(), tmp_path))
    assert str(caught.value) == (
        "x: latitude 'latitude' has 52 to 50 by -1, feed.locations has 12 to 10 by -1: none in common"
    )


def test_points_of_the_product_between_those_of_the_file_are_noted(tmp_path: Path) -> None:
    grid = {"latitude": {"start": 52, "step": -0.5, "count": 5}}
    decoded = decode(make_feed(tmp_path, locations=grid), netcdf(make_dataset(), tmp_path))
    assert decoded.notes == ("2 of the product's 5 points of latitude lie between those of the file",)
    assert {cell for _, cell in cells(decoded)} == {f"r00{row}c00{column}" for row in (0, 2, 4) for column in range(4)}


@pytest.mark.parametrize(
    ("names", "attributes"),
    [
        (("lat", "lon"), ({}, {})),
        (("Latitude", "LON"), ({}, {})),
        (("y", "x"), ({"standard_name": "latitude"}, {"standard_name": "longitude"})),
        (("y", "x"), ({"units": "degrees_north"}, {"units": "degree_east"})),
        (("y", "x"), ({"axis": "Y"}, {"axis": "X"})),
    ],
)
def test_coordinates_are_found_as_cf_tells_them(tmp_path: Path, names: Any, attributes: Any) -> None:
    dataset = make_dataset().rename(latitude=names[0], longitude=names[1])
    for name, said in zip(names, attributes, strict=True):
        dataset[name].attrs.update(said)
    assert decode(make_feed(tmp_path), netcdf(dataset, tmp_path)).rows.num_rows == 24


def test_coordinates_that_nothing_tells_are_named_by_the_product(tmp_path: Path) -> None:
    content = netcdf(make_dataset().rename(latitude="y", longitude="x"), tmp_path)
    feed = make_feed(tmp_path, grid={"latitude": "y", "longitude": "x"})
    assert decode(feed, content).rows.num_rows == 24
    with pytest.raises(
        ContractError, match=r"^x: no coordinate has the latitude; the file has .*y.*; name it in feed\."
    ):
        decode(make_feed(tmp_path), content)


def test_coordinates_of_a_turned_grid_are_not_taken_for_degrees(tmp_path: Path) -> None:
    dataset = make_dataset().rename(latitude="rlat", longitude="rlon")
    dataset["rlat"].attrs = {"standard_name": "grid_latitude", "axis": "Y"}
    with pytest.raises(ContractError, match="no coordinate has the latitude"):
        decode(make_feed(tmp_path), netcdf(dataset, tmp_path))


def test_coordinates_of_two_dimensions_are_no_regular_grid(tmp_path: Path) -> None:
    both = make_dataset().rename(latitude="y", longitude="x").drop_vars(["y", "x"])
    latitude, longitude = np.meshgrid([52.0, 51, 50], [-2.0, -1, 0, 1], indexing="ij")
    content = netcdf(both.assign_coords(lat=(("y", "x"), latitude), lon=(("y", "x"), longitude)), tmp_path)
    with pytest.raises(ContractError, match="latitude 'lat' has 2 dimensions, not one: the grid is not regular"):
        decode(make_feed(tmp_path), content)
    assert decode(make_feed(tmp_path, grid={"by_position": True}), content).rows.num_rows == 24


def test_packed_coordinates_are_unpacked(tmp_path: Path) -> None:
    encoding = {"latitude": {"dtype": "i2", "scale_factor": 0.01, "add_offset": 50.0, "_FillValue": -9999}}
    assert decode(make_feed(tmp_path), netcdf(make_dataset(), tmp_path, **encoding)).rows.num_rows == 24


def leveled() -> xr.Dataset:
    values = np.stack([VALUES, VALUES + 100], axis=1)
    axes = {"time": TIMES, "level": [850, 500], "latitude": [52.0, 51, 50], "longitude": [-2.0, -1, 0, 1]}
    return xr.Dataset({"t": (tuple(axes), values)}, coords=axes)


def test_a_further_dimension_is_selected_by_value_or_else_by_place(tmp_path: Path) -> None:
    content = netcdf(leveled(), tmp_path)
    chosen = decode(make_feed(tmp_path, grid={"select": {"level": 500}}), content)
    assert list(cells(chosen).values()) == list(range(100, 124))
    bare = netcdf(leveled().drop_vars("level"), tmp_path)
    assert cells(decode(make_feed(tmp_path, grid={"select": {"level": 1}}), bare)) == cells(chosen)


def test_a_further_dimension_must_be_selected(tmp_path: Path) -> None:
    content = netcdf(leveled(), tmp_path)
    with pytest.raises(ContractError) as caught:
        decode(make_feed(tmp_path), content)
    assert str(caught.value) == (
        "x: variable 't' has a dimension 'level' of 2; name one of 850, 500 in feed.source.grid.select"
    )
    with pytest.raises(ContractError, match=r"^x: dimension 'level' has no 700; it has 850, 500$"):
        decode(make_feed(tmp_path, grid={"select": {"level": 700}}), content)
    with pytest.raises(ContractError, match=r"^x: variable 't' has no dimension 'height' to select 2 of$"):
        decode(make_feed(tmp_path, grid={"select": {"level": 850, "height": 2}}), content)


def test_a_dimension_of_one_needs_no_selection_but_must_be_the_selected_one(tmp_path: Path) -> None:
    for single in (leveled().isel(level=[0]), leveled().isel(level=0)):
        content = netcdf(single, tmp_path)
        assert decode(make_feed(tmp_path), content).rows.num_rows == 24
        assert decode(make_feed(tmp_path, grid={"select": {"level": 850}}), content).rows.num_rows == 24
        with pytest.raises(ContractError, match="500"):
            decode(make_feed(tmp_path, grid={"select": {"level": 500}}), content)


def test_a_dimension_may_be_selected_by_text(tmp_path: Path) -> None:
    content = netcdf(leveled().assign_coords(level=["low", "high"]), tmp_path)
    decoded = decode(make_feed(tmp_path, grid={"select": {"level": "high"}}), content)
    assert list(cells(decoded).values()) == list(range(100, 124))


def test_cells_by_position_need_no_coordinates(tmp_path: Path) -> None:
    feed = make_feed(tmp_path, format="npz", grid={"by_position": True})
    assert list(cells(decode(feed, npz(t=VALUES, time=TIMES))).values()) == list(range(24))
    with pytest.raises(ContractError, match=r"^x: variable 't' has \(3, 5\) cells, feed\.locations has \(3, 4\)$"):
        decode(feed, npz(t=np.zeros((2, 3, 5)), time=TIMES))
    with pytest.raises(ContractError, match=r"^x: variable 't' lacks two dimensions of location"):
        decode(feed, npz(t=np.zeros((2, 12)), time=TIMES))


def test_cells_by_position_may_be_thinned(tmp_path: Path) -> None:
    wide = np.arange(2 * 8 * 11.0).reshape(2, 8, 11)
    feed = make_feed(tmp_path, format="npz", grid={"by_position": True, "every": 3})
    found = cells(decode(feed, npz(t=wide, time=TIMES)))
    assert found["01:00", "r000c001"] == 3
    assert found["01:00", "r002c003"] == 6 * 11 + 9
    assert len(found) == 24
    with pytest.raises(ContractError, match=r"has \(9, 11\) cells, \(5, 6\) with every 2\. cell, feed\.locations"):
        every = make_feed(tmp_path, format="npz", grid={"by_position": True, "every": 2})
        decode(every, npz(t=np.zeros((2, 9, 11)), time=TIMES))


def test_thinning_goes_with_position(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="every: only works with by_position"):
        make_feed(tmp_path, grid={"every": 2})


def series(folder: Path, ids: Any, *, role: bool = False) -> bytes:
    """Two hours of three stations, station by station."""
    path = folder / "series.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("station", 3)
        file.createDimension("time", 2)
        time = file.createVariable("time", "i4", ("time",))
        time.units = "hours since 2020-01-01"
        time[:] = [1, 2]
        if isinstance(ids[0], str) and not role:
            file.createVariable("station", str, ("station",))[:] = np.array(ids, object)
        elif role:
            file.createDimension("letters", 4)
            name = file.createVariable("name", "S1", ("station", "letters"))
            name.cf_role = "timeseries_id"
            name[:] = netCDF4.stringtochar(np.array(ids, "S4"))
            file.createVariable("station", "i4", ("station",))[:] = [0, 1, 2]
        else:
            file.createVariable("station", "i4", ("station",))[:] = ids
        file.createVariable("t", "f8", ("station", "time"))[:] = [[1, 4], [2, 5], [3, 6]]
    return path.read_bytes()


def station_feed(folder: Path, **source: Any) -> Any:
    (folder / "stations.csv").write_text("id,name,longitude,latitude\nA,Ay,0,51\nB,Bee,1,51\n")
    locations = {"kind": "stations", "path": "stations.csv", "latitude": "latitude", "longitude": "longitude"}
    return make_feed(folder, locations=locations, grid={"station": "station"}, **source)


@pytest.mark.parametrize(
    ("ids", "role", "expected"),
    [(["A", "B", "C"], False, ["A", "B", "C"]), (["A", "BB", "C"], True, ["A", "BB", "C"]), ([7, 8, 9], False, "789")],
    ids=["text", "letters", "numbers"],
)
def test_stations_come_by_their_ids(tmp_path: Path, ids: Any, role: bool, expected: Any) -> None:
    decoded = decode(station_feed(tmp_path), series(tmp_path, ids, role=role))
    a, b, c = expected
    assert cells(decoded) == {
        ("01:00", a): 1.0,
        ("01:00", b): 2.0,
        ("01:00", c): 3.0,
        ("02:00", a): 4.0,
        ("02:00", b): 5.0,
        ("02:00", c): 6.0,
    }


def test_stations_may_be_ignored(tmp_path: Path) -> None:
    decoded = decode(station_feed(tmp_path, ignore=["B", "Z"]), series(tmp_path, ["A", "B", "C"]))
    assert list(cells(decoded).values()) == [1.0, 3.0, 4.0, 6.0]


def test_stations_without_ids_or_with_one_id_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"^x: 2 stations are called 'A'$"):
        decode(station_feed(tmp_path), series(tmp_path, ["A", "B", "A"]))
    dataset = xr.Dataset({"t": (("time", "station"), np.ones((2, 3)))}, coords={"time": TIMES})
    with pytest.raises(ContractError, match=r"^x: dimension 'station' has no coordinate of its name, or with cf_role"):
        decode(station_feed(tmp_path), netcdf(dataset, tmp_path))
    with pytest.raises(ContractError, match=r"^x: variable 't' has no dimension 'station' of stations$"):
        decode(station_feed(tmp_path), netcdf(make_dataset(), tmp_path))


def test_series_are_not_taken_for_a_grid(tmp_path: Path) -> None:
    dataset = xr.Dataset(
        {"t": (("time", "obs"), np.ones((2, 3)))},
        coords={"time": TIMES, "lat": ("obs", [52.0, 51, 50]), "lon": ("obs", [-2.0, -1, 0])},
    )
    with pytest.raises(ContractError, match=r"both run along 'obs': these are series; name .*grid\.station$"):
        decode(make_feed(tmp_path), netcdf(dataset, tmp_path))
