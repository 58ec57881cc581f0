"""What Open-Meteo calls the variables of a feed, and how it spells units."""

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
"""Open-Meteo's name by CF standard name. Sums, means and gusts tell of the period that ends at their stamp."""

COMPONENTS = {"eastward_wind": np.sin, "northward_wind": np.cos}
"""Computed from wind speed and the direction that the wind comes from."""

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
"""UDUNITS spelling by Open-Meteo's."""


@dataclass(frozen=True, slots=True)
class Column:
    """Where the values of a variable of the feed come from."""

    variable: str
    asked: tuple[str, ...]
    """Open-Meteo's names: one, or wind speed and direction."""
    units: str
    """Unit delivered, as Open-Meteo spells it."""

    def values(self, given: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the values of the variable from those of the names asked."""
        if len(self.asked) == 1:
            return given[self.asked[0]]
        speed, direction = (given[name] for name in self.asked)
        component: NDArray[np.float64] = -speed * COMPONENTS[self.variable](np.deg2rad(direction))
        return component


def columns_of(feed: Feed) -> tuple[Column, ...]:
    """Return where each variable of a feed comes from.

    Raises:
        ConfigError: Open-Meteo has no such variable, or the product says a unit that Open-Meteo says itself.
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
            raise ConfigError(feed.title, f"{where}.source_name", f"'{speed}' is no wind speed", "e.g. wind_speed_100m")
        return Column(name, (speed, speed.replace("wind_speed_", "wind_direction_")), "m/s")
    asked = spec.source_name or NAMES.get(name)
    if asked is None:
        known = ", ".join(sorted({*NAMES, *COMPONENTS}))
        remedy = f"say Open-Meteo's name as source_name; known without: {known}"
        raise ConfigError(feed.title, where, "Open-Meteo's name for it is not known", remedy)
    return Column(name, (asked,), _usual(asked))


def _usual(asked: str) -> str:
    """Return the unit in which a name is delivered when asked for m/s; empty where that is not known."""
    beginnings = {
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
    return next((units for beginning, units in beginnings.items() if asked.startswith(beginning)), "")
