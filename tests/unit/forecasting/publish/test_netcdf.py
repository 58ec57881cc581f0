from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import xarray as xr

from pipeline.jobs.forecast import ForecastResult
from tests import jobs
from tests.conftest import Trained


@pytest.fixture
def published(trained: Trained) -> ForecastResult:
    (result,) = jobs.forecast(trained.workspace, at=trained.end)
    return result


@pytest.fixture
def dataset(published: ForecastResult) -> Iterator[xr.Dataset]:
    with xr.open_dataset(published.folder / "forecast.nc", engine="netcdf4") as opened:
        yield opened


def test_it_follows_the_cf_conventions(dataset: xr.Dataset, trained: Trained) -> None:
    assert dataset.attrs["Conventions"] == "CF-1.11"
    assert dataset.attrs["featureType"] == "timeSeries"
    assert dataset.attrs["fallback_level"] == 0
    assert trained.retrained.digest[:12] in dataset.attrs["source"]
    wind = dataset["wind_speed"]
    assert wind.dims == ("time", "station", "quantile")
    assert (wind.attrs["standard_name"], wind.attrs["units"]) == ("wind_speed", "m s-1")
    assert wind.attrs["cell_methods"] == "time: point"  # the feed labels instants
    assert dataset["station"].attrs["cf_role"] == "timeseries_id"
    assert dataset["latitude"].attrs["units"] == "degrees_north"
    assert dataset["longitude"].attrs["units"] == "degrees_east"
    assert dataset["forecast_reference_time"].attrs["standard_name"] == "forecast_reference_time"
    assert dataset["time"].attrs["standard_name"] == "time"


def test_times_are_the_ends_of_their_bounds(dataset: xr.Dataset, published: ForecastResult) -> None:
    assert dataset["time"].attrs["bounds"] == "time_bnds"
    bounds = dataset["time_bnds"].values
    np.testing.assert_array_equal(bounds[:, 1], dataset["time"].values)
    np.testing.assert_array_equal(bounds[:, 1] - bounds[:, 0], np.timedelta64(1, "D"))
    assert pd.Timestamp(dataset["forecast_reference_time"].item(), tz="UTC") == published.issue_time
    assert (dataset["time"].values > dataset["forecast_reference_time"].values).all()


def test_values_are_those_of_the_parquet(dataset: xr.Dataset, published: ForecastResult) -> None:
    rows = pq.read_table(published.folder / "forecast.parquet").to_pandas()
    wind = dataset["wind_speed"]
    assert len(rows) == wind.sizes["time"] * wind.sizes["station"]
    for row in rows.to_dict("records"):
        here = wind.sel(time=row["valid_time"].tz_localize(None), station=row["location"])
        for level in dataset["quantile"].values:
            assert float(here.sel(quantile=level)) == row[f"q{level:g}"]


def test_stations_have_names_and_places(dataset: xr.Dataset) -> None:
    assert dataset["station"].values.tolist() == ["S0", "S1", "S2", "S3"]
    assert dataset["station_name"].values.tolist() == [f"Station {n}" for n in range(4)]
    assert dataset["latitude"].values[[0, -1]].tolist() == [51.5, 55.0]
