"""Real files of arrays, read by what a product file says and nothing else. They are too large to ship."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pyarrow.compute as pc
import pytest
from numpy.typing import NDArray

from pipeline.config import Feed
from pipeline.errors import SourceError
from pipeline.ingest.sources import Decoded, Payload, open_source
from pipeline.locations import read_locations
from tests.unit.ingest.decoding.grids import make_feed

ROOT = Path(os.environ.get("NIGHTCAST_REAL_DATA", ""))
pytestmark = pytest.mark.skipif(
    "NIGHTCAST_REAL_DATA" not in os.environ, reason="NIGHTCAST_REAL_DATA does not name the folder of real data"
)
AT = datetime(2026, 1, 1, tzinfo=UTC)


def grid(latitude: tuple[float, float, int], longitude: tuple[float, float, int]) -> dict[str, Any]:
    keys = ("start", "step", "count")
    return {"latitude": dict(zip(keys, latitude, strict=True)), "longitude": dict(zip(keys, longitude, strict=True))}


def take(feed: Feed) -> list[tuple[Payload, Decoded]]:
    source = open_source(feed, read_locations(feed))
    taken = []
    for payload in source.fetch(None, None, at=AT):
        assert isinstance(payload, Payload)
        taken.append((payload, source.decode(payload)))
    return taken


def frames(decoded: Decoded, variable: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Rows of a grid without a gap as (time, row, column), after a look at their order."""
    assert decoded.rows.num_rows == np.prod(shape)
    times = decoded.rows["valid_time"].to_numpy()
    assert (np.diff(times) >= np.timedelta64(0)).all()
    values: NDArray[np.float64] = decoded.rows[variable].to_numpy().reshape(shape)
    return values


UK = grid((58, -0.25, 33), (-10, 0.25, 49))


def test_era5_grib_equals_its_npz_to_the_bit(tmp_path: Path) -> None:
    folder = ROOT / "era5_uk_t2m_hourly"
    variables = {"air_temperature": {"source_name": "t2m", "units": "K"}}
    grib = make_feed(tmp_path, format="grib", path=str(folder / "*.grib"), variables=variables, locations=UK)
    ((_, decoded),) = take(grib)
    assert (decoded.rows.num_rows, decoded.refused.num_rows, decoded.notes) == (744 * 33 * 49, 0, ())
    with np.load(folder / "era5_uk_t2m_201903.npz", allow_pickle=False) as arrays:
        expected = arrays["t2m"]
    assert np.array_equal(frames(decoded, "air_temperature", expected.shape).astype(np.float32), expected)
    assert decoded.rows["valid_time"][0].as_py() == datetime(2019, 3, 1, tzinfo=UTC)
    assert decoded.rows["valid_time"][-1].as_py() == datetime(2019, 3, 31, 23, tzinfo=UTC)

    told = {"air_temperature": variables["air_temperature"] | {"source_units": "K"}}
    npz = make_feed(tmp_path, format="npz", path=str(folder / "*.npz"), variables=told, locations=UK)
    ((_, same),) = take(npz)
    assert same.rows == decoded.rows


def write_day(path: Path, day: np.datetime64, arrays: dict[str, NDArray[Any]], at: int) -> None:
    """One day in the form of the original product: the attribute of time is called Unit."""
    with netCDF4.Dataset(path, "w") as file:
        for name in ("lat", "lon"):
            file.createDimension(name, len(arrays[name]))
            file.createVariable(name, "f4", (name,))[:] = arrays[name]
        file.createDimension("time", 1)
        time = file.createVariable("time", "f8", ("time",))
        time.Unit = "days since 1900-1-1"
        time[:] = (day - np.datetime64("1900-01-01")).astype(int)
        for name, title in {"u": "eastward", "v": "northward"}.items():
            title = f"{title}_eulerian_current_velocity"
            current = file.createVariable(title, "f4", ("time", "lat", "lon"), fill_value=-9999.0)
            current.units = "m s-1"
            current[0] = np.where(np.isnan(arrays[name][at]), -9999.0, arrays[name][at])


def test_globcurrent_comes_a_file_a_day_with_time_under_a_misspelt_unit(tmp_path: Path) -> None:
    with np.load(ROOT / "globcurrent_agulhas_daily" / "globcurrent_agulhas_2002.npz", allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    feed = make_feed(
        tmp_path,
        path="*-GlobCurrent.nc",
        step="1d",
        locations=grid((-40.125, 0.25, 41), (14.875, 0.25, 81)),
        variables={
            "eastward_sea_water_velocity": {"source_name": "eastward_eulerian_current_velocity", "units": "m s-1"},
            "northward_sea_water_velocity": {"source_name": "northward_eulerian_current_velocity", "units": "m s-1"},
        },
    )
    for at, day in enumerate(arrays["time"][:10]):
        write_day(tmp_path / f"{str(day).replace('-', '')}-GlobCurrent.nc", day, arrays, at)
        *_, (_, decoded) = take(feed)
        assert decoded.notes == ("time has its units in the attribute 'Unit' instead of 'units': days since 1900-1-1",)
        assert decoded.refused.num_rows == 0
        assert set(decoded.rows["valid_time"].to_pylist()) == {datetime(2002, 1, 1 + at, tzinfo=UTC)}
        sea = ~np.isnan(arrays["u"][at])
        assert decoded.rows.num_rows == sea.sum() == 2552
        for name, variable in (("u", "eastward_sea_water_velocity"), ("v", "northward_sea_water_velocity")):
            found = decoded.rows[variable].to_numpy().astype(np.float32)
            assert np.array_equal(found, arrays[name][at][sea])


def test_the_year_of_globcurrent_in_one_archive(tmp_path: Path) -> None:
    feed = make_feed(
        tmp_path,
        format="npz",
        path=str(ROOT / "globcurrent_agulhas_daily" / "*.npz"),
        step="1d",
        locations=grid((-40.125, 0.25, 41), (14.875, 0.25, 81)),
        variables={"u": {"units": "m s-1"}, "v": {"units": "m s-1"}},
    )
    ((_, decoded),) = take(feed)
    assert decoded.rows.num_rows == 366 * 2552
    assert (decoded.rows["u"].null_count, decoded.rows["v"].null_count, decoded.refused.num_rows) == (0, 0, 0)


def radar(folder: Path, file: str, name: str, every: int, locations: dict[str, Any], step: str) -> Decoded:
    feed = make_feed(
        folder,
        format="npz",
        path=str(ROOT / "radar_pysteps" / file),
        step=step,
        locations=locations,
        variables={"rain": {"source_name": name, "units": "mm"}},
        missing=["65535"],
        grid={"by_position": True, "every": every, "scale": {name: 0.01}},
    )
    ((_, decoded),) = take(feed)
    assert decoded.refused.num_rows == 0
    with np.load(ROOT / "radar_pysteps" / file, allow_pickle=False) as arrays:
        thinned = arrays[name][:, ::every, ::every]
    kept = thinned[thinned != 65535]
    assert np.array_equal(decoded.rows["rain"].to_numpy(), kept * 0.01)
    return decoded


def test_radar_of_brisbane_by_position(tmp_path: Path) -> None:
    # 256 x 256 km around 27.7 south, 153.2 east, every eighth cell of half a kilometre
    where = grid((-26.56, -0.036, 64), (151.9, 0.041, 64))
    decoded = radar(tmp_path, "bom66_20201031_10min_512.npz", "precip_x100", 8, where, "10min")
    assert decoded.rows.num_rows == 144 * 64 * 64 - 1  # 65 of the 37 748 736 cells of the file are missing
    assert pc.max(decoded.rows["rain"]).as_py() == pytest.approx(15.3)


def test_radar_of_the_netherlands_is_mostly_outside_the_image(tmp_path: Path) -> None:
    where = grid((55.9, -0.14, 51), (0.0, 0.23, 47))
    decoded = radar(tmp_path, "knmi_20100826_5min_765x700.npz", "acc_x100", 15, where, "5min")
    assert decoded.rows.num_rows == 56_212  # of 92 x 51 x 47; the others lie outside the image
    assert pc.max(decoded.rows["rain"]).as_py() == pytest.approx(1.03)
    assert decoded.rows["valid_time"][-1].as_py() == datetime(2010, 8, 26, 7, 35, tzinfo=UTC)


def test_meteonet_dates_are_python_objects_and_refused(tmp_path: Path) -> None:
    feed = make_feed(
        tmp_path,
        format="npz",
        path=str(ROOT / "dirty_cases" / "meteonet_rainfall_SE_2016_08.3.npz"),
        step="5min",
        variables={"rain": {"source_name": "data", "units": "mm"}},
        grid={"time": "dates", "by_position": True},
    )
    source = open_source(feed, read_locations(feed))
    (payload,) = source.fetch(None, None, at=AT)
    assert isinstance(payload, Payload)
    with pytest.raises(SourceError) as caught:
        source.decode(payload)
    assert str(caught.value) == (
        f"{payload.name}: array 'dates' holds Python objects, which only pickle can read, and pickle may run code; "
        "write it as numbers, text or datetime64"
    )
