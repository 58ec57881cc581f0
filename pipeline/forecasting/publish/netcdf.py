"""The forecast as CF-1.11 NetCDF: a discrete sampling geometry of stations, quantiles as a coordinate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from pipeline.forecasting.publish.table import PublishedForecast
from pipeline.times import as_numpy


def write_netcdf(forecast: PublishedForecast, path: Path) -> None:
    """Write the forecast to `path`; the caller makes it appear atomically.

    Dimensions are (time, station, quantile). Times are the ends of the periods that `time_bnds` gives. The reference
    time is the issue time, as CF's forecast_reference_time.
    """
    product, places = forecast.product, forecast.locations
    ends = np.array([as_numpy(instant) for instant in forecast.valid_times], "datetime64[s]")
    bounds = np.stack([ends - np.timedelta64(product.feed.step, "s"), ends], axis=1)
    issue = as_numpy(forecast.issue_time).astype("datetime64[s]")
    variables = {}
    for index, name in enumerate(product.forecast.targets):
        units, _, _, long_name = product.feed.variable(name)
        attributes = {
            "long_name": f"Quantiles of {long_name[0].lower()}{long_name[1:]}",
            "units": units,
            "coordinates": "latitude longitude station_name forecast_reference_time",
            "cell_methods": "time: mean" if product.feed.source.time_label == "start" else "time: point",
        }
        if name in _STANDARD_NAMES:
            attributes["standard_name"] = name
        variables[name] = (("time", "station", "quantile"), forecast.quantiles[:, index], attributes)
    dataset = xr.Dataset(
        {**variables, "time_bnds": (("time", "bnds"), bounds)},
        coords={
            "time": ("time", ends, {"standard_name": "time", "bounds": "time_bnds", "axis": "T"}),
            "quantile": ("quantile", np.array(forecast.levels), {"long_name": "Quantile level", "units": "1"}),
            "station": (
                "station",
                np.array(places.ids, object),
                {"cf_role": "timeseries_id", "long_name": "Station id"},
            ),
            "station_name": ("station", np.array(places.names, object), {"long_name": "Station name"}),
            "latitude": ("station", np.array(places.latitude), {"standard_name": "latitude", "units": "degrees_north"}),
            "longitude": (
                "station",
                np.array(places.longitude),
                {"standard_name": "longitude", "units": "degrees_east"},
            ),
            "forecast_reference_time": ((), issue, {"standard_name": "forecast_reference_time"}),
        },
        attrs={
            "Conventions": "CF-1.11",
            "featureType": "timeSeries",
            "title": product.title or product.name,
            "source": f"{forecast.model}, digest {forecast.digest[:12] or 'none'}",
            "references": product.feed.attribution,
            "history": f"issued for {forecast.issue_time:%Y-%m-%dT%H:%M:%SZ} by nightcast {forecast.code_version}",
            "fallback_level": int(forecast.fallback_level),
            "input_age_hours": forecast.input_age_hours,
        },
    )
    epoch = {"units": "seconds since 1970-01-01", "calendar": "standard", "dtype": "int64"}
    encoding = {name: dict(epoch) for name in ("time", "time_bnds", "forecast_reference_time")}
    dataset.to_netcdf(path, engine="netcdf4", encoding=encoding)


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
