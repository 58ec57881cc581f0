"""Open-Meteo's names of variables and units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Feed
from pipeline.errors import ConfigError

NAMES = {
    "air_pressure_at_mean_sea_level": "pressure_msl",
    "air_temperature": "temperature_2m",
    "dew_point_temperature": "dew_point_2m",
    "precipitation_amount": "precipitation",
    "relative_humidity": "relative_humidity_2m",
    "surface_downwelling_shortwave_flux_in_air": "shortwave_radiation",
    "wind_from_direction": "wind_direction_10m",
    "wind_speed": "wind_speed_10m",
    "wind_speed_of_gust": "wind_gusts_10m",
}
"""Open-Meteo's name by CF standard name. Sums, means and gusts are for the period that ends at their time stamp."""

COMPONENTS = {"eastward_wind": np.sin, "northward_wind": np.cos}
"""Variables computed from wind speed and wind direction."""

UNITS = {
    "%": "%",
    "K": "K",
    "Pa": "Pa",
    "W/m²": "W m-2",
    "cm": "cm",
    "ft": "foot",
    "hPa": "hPa",
    "inch": "inch",
    "km/h": "km h-1",
    "kn": "knot",
    "m": "m",
    "m/s": "m s-1",
    "mm": "mm",
    "mp/h": "mile h-1",
    "s": "s",
    "°": "degree",
    "°C": "degC",
    "°F": "degF",
}
"""UDUNITS spelling by Open-Meteo's spelling."""


@dataclass(frozen=True, slots=True)
class Column:
    """How a variable of the feed is obtained from Open-Meteo's."""

    variable: str
    requested: tuple[str, ...]
    """Open-Meteo's names: one variable, or wind speed and direction."""
    units: str
    """Usual unit, in Open-Meteo's spelling; empty if unknown."""

    def values(self, given: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the values of the variable, given those of the requested names."""
        if len(self.requested) == 1:
            return given[self.requested[0]]
        speed, direction = (given[name] for name in self.requested)
        component: NDArray[np.float64] = -speed * COMPONENTS[self.variable](np.deg2rad(direction))
        return component


def columns_of(feed: Feed) -> tuple[Column, ...]:
    """Return how each variable of a feed is obtained.

    Raises:
        ConfigError: a variable is not in Open-Meteo, or has source_units, which Open-Meteo states itself.
    """
    return tuple(_column(feed, name) for name in feed.variables)


def _column(feed: Feed, name: str) -> Column:
    spec = feed.variables[name]
    where = f"feed.variables.{name}"
    if spec.source_units is not None:
        raise ConfigError(feed.title, f"{where}.source_units", "Open-Meteo states its units", "leave it out")
    if name in COMPONENTS:
        speed = spec.source_name or "wind_speed_10m"
        if not speed.startswith("wind_speed_"):
            raise ConfigError(
                feed.title, f"{where}.source_name", f"'{speed}' is not a wind speed", "e.g. wind_speed_100m"
            )
        return Column(name, (speed, speed.replace("wind_speed_", "wind_direction_")), "m/s")
    requested = spec.source_name or NAMES.get(name)
    if requested is None:
        known = ", ".join(sorted({*NAMES, *COMPONENTS}))
        remedy = f"set source_name to Open-Meteo's name; built in: {known}"
        raise ConfigError(feed.title, where, "no Open-Meteo name is known for it", remedy)
    return Column(name, (requested,), _usual_unit(requested))


def _usual_unit(requested: str) -> str:
    """Return the unit in which a variable is delivered if wind is requested in m/s; empty if unknown."""
    prefixes = {
        "temperature_": "°C",
        "dew_point_": "°C",
        "relative_humidity_": "%",
        "pressure_msl": "hPa",
        "surface_pressure": "hPa",
        "precipitation": "mm",
        "shortwave_radiation": "W/m²",
        "wind_speed_": "m/s",
        "wind_gusts_": "m/s",
        "wind_direction_": "°",
    }
    return next((units for prefix, units in prefixes.items() if requested.startswith(prefix)), "")
