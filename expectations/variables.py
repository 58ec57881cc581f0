"""Known variables: CF standard name, canonical unit, physical limits.

Names follow the CF Standard Name Table (https://cfconventions.org/standard-names.html); units are those in common use.
Limits are wide on purpose: they separate the impossible from the rare, and lie outside the records of the WMO World
Weather and Climate Extremes Archive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Transform = Literal["identity", "sqrt", "log1p"]


@dataclass(frozen=True, slots=True)
class Variable:
    """A quantity as it is stored."""

    name: str
    units: str
    """Canonical unit, UDUNITS spelling."""
    limits: tuple[float | None, float | None]
    """Smallest and largest possible value, in `units`."""
    transform: Transform = "identity"
    """Scale on which its variance is nearly constant; models work on it."""
    long_name: str = ""


def _table(*variables: Variable) -> dict[str, Variable]:
    return {variable.name: variable for variable in variables}


KNOWN = _table(
    Variable("wind_speed", "m s-1", (0.0, 115.0), "sqrt", "Wind speed"),
    Variable("wind_speed_of_gust", "m s-1", (0.0, 115.0), "sqrt", "Wind gust"),
    Variable("wind_from_direction", "degree", (0.0, 360.0), "identity", "Wind direction"),
    Variable("eastward_wind", "m s-1", (-115.0, 115.0), "identity", "Eastward wind"),
    Variable("northward_wind", "m s-1", (-115.0, 115.0), "identity", "Northward wind"),
    Variable("air_temperature", "degC", (-90.0, 60.0), "identity", "Air temperature"),
    Variable("dew_point_temperature", "degC", (-100.0, 40.0), "identity", "Dew point"),
    Variable("relative_humidity", "%", (0.0, 105.0), "identity", "Relative humidity"),
    Variable("air_pressure_at_mean_sea_level", "hPa", (850.0, 1100.0), "identity", "Mean sea level pressure"),
    Variable("precipitation_amount", "kg m-2", (0.0, 2000.0), "log1p", "Precipitation"),
    Variable("surface_downwelling_shortwave_flux_in_air", "W m-2", (0.0, 1500.0), "sqrt", "Solar irradiance"),
    Variable("pedestrian_count", "1", (0.0, 50_000.0), "log1p", "Pedestrians per step"),
)
"""Variables with limits of their own; a product may narrow them, or add variables with their own units."""
