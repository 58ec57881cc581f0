"""What NetCDF and Zarr have in common: the CF dataset of a forecast."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from pipeline.forecasting.publish.netcdf import NetCdf
from pipeline.forecasting.publish.parquet import Parquet
from pipeline.forecasting.publish.published_forecast import PublishedForecast
from pipeline.forecasting.publish.report_data import ReportContext
from pipeline.forecasting.publish.zarr import Zarr
from tests.unit.forecasting.publish.samples import ISSUE, make_forecast


def no_context() -> ReportContext:
    raise AssertionError("not needed")


@pytest.fixture
def grid(tmp_path: Path) -> PublishedForecast:
    return make_forecast(tmp_path / "product", grid=True)


@pytest.fixture(params=["netcdf", "zarr"])
def dataset(request: pytest.FixtureRequest, grid: PublishedForecast, tmp_path: Path) -> Iterator[xr.Dataset]:
    if request.param == "netcdf":
        NetCdf(kind="netcdf").write(grid, tmp_path, no_context)
        opened = xr.open_dataset(tmp_path / "forecast.nc")
    else:
        Zarr(kind="zarr").write(grid, tmp_path, no_context)
        opened = xr.open_zarr(tmp_path / "forecast.zarr")
    with opened:
        yield opened


def test_a_grid_has_latitude_and_longitude_as_dimensions(dataset: xr.Dataset) -> None:
    wind = dataset["wind_speed"]
    assert wind.dims == ("time", "latitude", "longitude", "quantile")
    assert wind.shape == (2, 3, 4, 7)
    assert "station" not in dataset.variables
    assert "featureType" not in dataset.attrs
    assert dataset.attrs["Conventions"] == "CF-1.11"
    for name, units, axis in (("latitude", "degrees_north", "Y"), ("longitude", "degrees_east", "X")):
        coordinate = dataset[name]
        assert coordinate.dims == (name,)
        assert (coordinate.attrs["standard_name"], coordinate.attrs["units"]) == (name, units)
        assert coordinate.attrs["axis"] == axis
        assert "_FillValue" not in coordinate.encoding
        assert coordinate.to_index().is_monotonic_increasing or coordinate.to_index().is_monotonic_decreasing
    assert dataset["latitude"].values.tolist() == [54.0, 53.75, 53.5]
    assert dataset["longitude"].values.tolist() == [-10.0, -9.5, -9.0, -8.5]


def test_coordinates_are_decoded(dataset: xr.Dataset) -> None:
    assert set(dataset["wind_speed"].coords) == {
        "time",
        "latitude",
        "longitude",
        "quantile",
        "forecast_reference_time",
    }
    assert dataset["forecast_reference_time"].values == np.datetime64(ISSUE.replace(tzinfo=None))
    assert dataset["time"].values.tolist() == np.array(["2001-01-03", "2001-01-04"], "datetime64[ns]").tolist()
    assert dataset["time"].attrs["axis"] == "T"
    assert dataset["quantile"].values.tolist() == [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95]


def test_each_cell_has_its_own_values(dataset: xr.Dataset, grid: PublishedForecast) -> None:
    for place, (north, east) in enumerate(zip(grid.locations.latitude, grid.locations.longitude, strict=True)):
        cell = dataset["wind_speed"].sel(latitude=north, longitude=east)
        expected: NDArray[np.float32] = grid.quantiles[:, 0, place]
        np.testing.assert_array_equal(cell.transpose("time", "quantile").values, expected)


def test_an_incomplete_grid_is_a_set_of_points(grid: PublishedForecast, tmp_path: Path) -> None:
    from pipeline.forecasting.publish.cf import cf_dataset
    from pipeline.forecasting.publish.published_forecast import _select

    locations = _select(grid.locations, set(grid.locations.ids[1:]))
    dataset = cf_dataset(replace(grid, locations=locations, quantiles=grid.quantiles[:, :, 1:]))
    assert dataset["wind_speed"].dims == ("time", "station", "quantile")
    assert dataset["station"].values.tolist() == list(grid.locations.ids[1:])


def test_the_zarr_store_is_the_netcdf_file_in_another_form(tmp_path: Path) -> None:
    forecast = make_forecast(tmp_path / "product")
    NetCdf(kind="netcdf").write(forecast, tmp_path, no_context)
    Zarr(kind="zarr").write(forecast, tmp_path, no_context)
    with xr.open_dataset(tmp_path / "forecast.nc") as one, xr.open_zarr(tmp_path / "forecast.zarr") as other:
        xr.testing.assert_identical(one.load(), other.load())


def test_a_zarr_store_written_again_is_the_same(tmp_path: Path) -> None:
    forecast = make_forecast(tmp_path / "product")
    contents = []
    for name in ("one", "other"):
        Zarr(kind="zarr").write(forecast, tmp_path / name, no_context)
        folder = tmp_path / name / "forecast.zarr"
        contents.append({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()})
    assert contents[0] == contents[1]


def test_the_table_has_the_coordinates_of_each_location(grid: PublishedForecast, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    Parquet(kind="parquet").write(grid, tmp_path, no_context)
    rows = pq.read_table(tmp_path / "forecast.parquet").to_pandas()
    cell = rows[rows["location"] == "r001c002"]
    assert (set(cell["latitude"]), set(cell["longitude"])) == ({53.75}, {-9.0})
    assert cell["q0.05"].tolist() == [7.0 * 6, 7.0 * 18]
