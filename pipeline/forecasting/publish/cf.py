"""The forecast as a dataset that follows the CF conventions: a grid, or stations as a discrete sampling geometry."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from pipeline.forecasting.publish.published_forecast import PublishedForecast
from pipeline.locations import Locations
from pipeline.steps import add
from pipeline.times import as_numpy

Coordinates = dict[str, tuple[Any, ...]]


def cf_dataset(forecast: PublishedForecast) -> xr.Dataset:
    """Return the forecast with the metadata of CF-1.11.

    Dimensions are (time, latitude, longitude, quantile) where the locations are a grid, else (time, station,
    quantile). Times are the ends of the periods in `time_bnds`. The issue time is CF's forecast_reference_time.
    """
    product = forecast.product
    ends = np.array([as_numpy(instant) for instant in forecast.valid_times], "datetime64[s]")
    starts = [as_numpy(add(instant, -1, product.feed.step)) for instant in forecast.valid_times]
    bounds = np.stack([np.array(starts, "datetime64[s]"), ends], axis=1)
    issue_time = as_numpy(forecast.issue_time).astype("datetime64[s]")
    coordinates, auxiliary = _location_coordinates(forecast.locations)
    axes = tuple(name for name, (dimension, *_) in coordinates.items() if name == dimension)
    sizes = tuple(len(coordinates[name][1]) for name in axes)
    variables = {}
    for index, name in enumerate(product.forecast.targets):
        quantiles = forecast.quantiles[:, index]
        values = quantiles.reshape(quantiles.shape[0], *sizes, quantiles.shape[-1])
        attributes = _attributes(forecast, name) | {"coordinates": " ".join((*auxiliary, "forecast_reference_time"))}
        variables[name] = (("time", *axes, "quantile"), values, attributes)
    dataset = xr.Dataset(
        {**variables, "time_bnds": (("time", "bnds"), bounds)},
        coords={
            "time": ("time", ends, {"standard_name": "time", "bounds": "time_bnds", "axis": "T"}),
            "quantile": ("quantile", np.array(forecast.quantile_levels), {"long_name": "Quantile level", "units": "1"}),
            **coordinates,
            "forecast_reference_time": ((), issue_time, {"standard_name": "forecast_reference_time"}),
        },
        attrs={
            "Conventions": "CF-1.11",
            **({} if forecast.locations.shape else {"featureType": "timeSeries"}),
            "title": product.title or product.name,
            "source": f"{forecast.model}, digest {forecast.digest[:12] or 'none'}",
            "references": product.feed.attribution,
            "history": f"issued for {forecast.issue_time:%Y-%m-%dT%H:%M:%SZ} by nightcast {forecast.code_version}",
            "fallback_level": int(forecast.fallback_level),
            "input_age_hours": forecast.input_age_hours,
        },
    )
    for name in ("time", "time_bnds", "forecast_reference_time"):
        dataset[name].encoding = {"units": "seconds since 1970-01-01", "calendar": "standard", "dtype": "int64"}
    for name in ("quantile", "latitude", "longitude"):  # CF allows no missing values in coordinates
        dataset[name].encoding = {"_FillValue": None}
    return dataset


def _attributes(forecast: PublishedForecast, target: str) -> dict[str, str]:
    feed = forecast.product.feed
    variable = feed.variable(target)
    attributes = {
        "long_name": f"Quantiles of {variable.long_name[0].lower()}{variable.long_name[1:]}",
        "units": variable.units,
        "cell_methods": "time: mean" if feed.source.time_label == "start" else "time: point",
    }
    return attributes | ({"standard_name": target} if target in _STANDARD_NAMES else {})


def _location_coordinates(locations: Locations) -> tuple[Coordinates, tuple[str, ...]]:
    """Return the coordinates of the locations, and the names of those that are not a dimension."""
    north, east = np.array(locations.latitude), np.array(locations.longitude)
    latitude = {"standard_name": "latitude", "long_name": "Latitude", "units": "degrees_north"}
    longitude = {"standard_name": "longitude", "long_name": "Longitude", "units": "degrees_east"}
    if locations.shape is not None:
        return {
            "latitude": ("latitude", north.reshape(locations.shape)[:, 0], {**latitude, "axis": "Y"}),
            "longitude": ("longitude", east.reshape(locations.shape)[0], {**longitude, "axis": "X"}),
        }, ()
    ids, names = np.array(locations.ids, object), np.array(locations.names, object)
    return {
        "station": ("station", ids, {"cf_role": "timeseries_id", "long_name": "Station id"}),
        "station_name": ("station", names, {"long_name": "Station name"}),
        "latitude": ("station", north, latitude),
        "longitude": ("station", east, longitude),
    }, ("latitude", "longitude", "station_name")


_STANDARD_NAMES = {
    "wind_speed",
    "wind_speed_of_gust",
    "wind_from_direction",
    "eastward_wind",
    "northward_wind",
    "air_temperature",
    "dew_point_temperature",
    "relative_humidity",
    "air_pressure_at_mean_sea_level",
    "precipitation_amount",
    "surface_downwelling_shortwave_flux_in_air",
}
