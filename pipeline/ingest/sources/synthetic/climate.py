"""From random fields to weather: physically consistent variables with diurnal and annual cycles.

Three independent fields of unit variance are advected by the mean wind: `warmth`, `eddies` (a stream function) and
`vapour`.
Every variable is a function of them, of local solar time, of the day of the year and of latitude:

* wind = (mean wind + eddies, a flow without divergence of 3 m s-1 a component) * (1 + 0.2 cos(2 pi (h - 14) / 24));
* pressure balances that wind (geostrophic, constant density and Coriolis parameter);
* air temperature = 27 - 35 sin^2(latitude) + season + 4 cos(2 pi (h - 15) / 24) + 3 warmth, degC; the season is
  12 sin(latitude) cos(2 pi (d - 200) / 365.24);
* dew point lies below the temperature by 5 exp(-0.5 moisture) K before the daily cycle; moisture = 0.5 warmth +
  0.87 vapour; relative humidity follows from both by the Magnus formula (Alduchov and Eskridge 1996);
* precipitation falls at 2 max(0, moisture - 0.8)^1.5 mm h-1; of a step it is the rate at its end times the step;
* irradiance = 1361 * 0.76 * sine of solar elevation * (1 - 0.75 cloud) W m-2; cloud = normal distribution function of
  moisture.

h is mean solar time, UTC + longitude / 15 degrees; the declination is -23.44 cos(2 pi (d + 10) / 365.24) degrees.
The amplitudes are typical of a temperate climate; nothing is fitted to data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from scipy.special import ndtr

from pipeline.config.sources.synthetic import FieldSpec
from pipeline.ingest.sources.synthetic.waves import Floats, Times, Waves, Wind

EARTH = 6.371e6  # radius, m
_YEAR = 365.2422 * 86_400
_NEW_YEAR = 946_684_800  # 2000-01-01
_EDDIES = 3.0  # m s-1
_DENSITY, _ROTATION = 1.2, 7.292e-5
_MIDSUMMER = 200 * 86_400

Sky = Callable[["Air"], Floats]


@dataclass(frozen=True)
class Properties:
    """Properties of a variable: its spread, which scales its errors, and its physical limits."""

    spread: float
    low: float | None = None
    high: float | None = None
    circular: bool = False
    """Whether the variable is an angle in degrees, where 360 equals 0."""


KNOWN: Mapping[str, Properties] = {
    "eastward_wind": Properties(3.0),
    "northward_wind": Properties(3.0),
    "wind_speed": Properties(3.0, 0.0),
    "wind_speed_of_gust": Properties(4.0, 0.0),
    "wind_from_direction": Properties(30.0, 0.0, 360.0, circular=True),
    "air_temperature": Properties(3.0),
    "dew_point_temperature": Properties(3.0),
    "relative_humidity": Properties(10.0, 0.0, 100.0),
    "air_pressure_at_mean_sea_level": Properties(5.0),
    "precipitation_amount": Properties(0.5, 0.0),
    "surface_downwelling_shortwave_flux_in_air": Properties(100.0, 0.0),
}
"""The built-in variables, in the canonical units of `expectations.variables`."""


@dataclass(frozen=True)
class Places:
    """The locations of the observations."""

    longitude: Floats
    latitude: Floats
    centre: tuple[float, float]
    """Longitude and latitude of the centre of the map projection."""

    @property
    def plane(self) -> Floats:
        """Metres east and north of the centre, shape (2, place); accurate near the latitude of the centre."""
        longitude, latitude = self.centre
        east = (self.longitude - longitude + 180) % 360 - 180
        metres = np.stack([east * np.cos(np.radians(latitude)), self.latitude - latitude])
        return np.asarray(np.radians(metres) * EARTH, np.float64)

    def part(self, where: slice) -> Places:
        """Return some of the places, in the same projection."""
        return Places(self.longitude[where], self.latitude[where], self.centre)


@dataclass(frozen=True)
class Air:
    """The weather at some times and places; every array has shape (time, place)."""

    waves: Waves
    wind: Wind
    places: Places
    times: Times
    step: float
    """Accumulation period of precipitation, seconds."""
    fields: Mapping[str, FieldSpec]
    weights: dict[str, Floats] = field(default_factory=dict)
    """Weights of the waves by field, cached; the same at all places."""

    def part(self, where: slice) -> Air:
        """Return the weather at some of the places."""
        return replace(self, places=self.places.part(where))

    def true(self, name: str) -> Floats:
        """Return a variable without measurement errors."""
        if name in self.fields:
            return self._made(name, self.fields[name])
        return np.broadcast_to(_SKIES[name](self), self._shape)

    def tracer(self, name: str) -> Floats:
        """Return a field of unit variance that is advected by the wind."""
        return np.asarray(self._amplitudes(name) @ self._basis)

    @cached_property
    def hour(self) -> Floats:
        """Mean solar time, hours."""
        return np.asarray((self.times[:, np.newaxis] / 3600 + self.places.longitude / 15) % 24)

    @cached_property
    def season(self) -> Floats:
        """From -1 in midwinter to 1 in midsummer, times the sine of latitude."""
        return self._yearly(_MIDSUMMER) * np.sin(self._phi)

    @cached_property
    def elevation(self) -> Floats:
        """Sine of the solar elevation."""
        declination = np.radians(-23.44) * self._yearly(-10 * 86_400)
        angle = 2 * np.pi * (self.hour - 12) / 24
        both = np.sin(self._phi) * np.sin(declination), np.cos(self._phi) * np.cos(declination)
        return np.asarray(both[0] + both[1] * np.cos(angle))

    @cached_property
    def warmth(self) -> Floats:
        """Field of warm and cold air, of unit variance."""
        return self.tracer("warmth")

    @cached_property
    def moisture(self) -> Floats:
        """Field of moist and dry air, of unit variance; warm air is moister."""
        return np.asarray(0.5 * self.warmth + np.sqrt(0.75) * self.tracer("vapour"))

    @cached_property
    def flow(self) -> tuple[Floats, Floats]:
        """Eastward and northward wind, m s-1."""
        east, north = (self._slope(axis) for axis in (0, 1))
        mean = self.wind.at(self.times)
        day = 1 + 0.2 * self.daily(14)
        return (mean[:, :1] - north) * day, (mean[:, 1:] + east) * day

    @cached_property
    def speed(self) -> Floats:
        """Wind speed, m s-1."""
        return np.asarray(np.hypot(*self.flow))

    @cached_property
    def slow(self) -> Floats:
        """Air temperature without the diurnal cycle, degC."""
        return np.asarray(27 - 35 * np.sin(self._phi) ** 2 + 12 * self.season + 3 * self.warmth)

    @cached_property
    def temperature(self) -> Floats:
        """Air temperature, degC."""
        return self.slow + 4 * self.daily(15)

    @cached_property
    def dew(self) -> Floats:
        """Dew point, degC."""
        return np.asarray(np.minimum(self.slow - 5 * np.exp(-0.5 * self.moisture), self.temperature))

    @cached_property
    def pressure(self) -> Floats:
        """Mean sea level pressure, hPa, in geostrophic balance with the wind."""
        latitude = self.places.centre[1]
        turning = 2 * _ROTATION * np.sin(np.radians(max(abs(latitude), 20.0))) * (-1 if latitude < 0 else 1)
        mean, (x, y) = self.wind.at(self.times), self.places.plane
        stream = mean[:, 1:] * x - mean[:, :1] * y + self._strength * self.tracer("eddies")
        return np.asarray(1013 + _DENSITY * turning * stream / 100)

    def daily(self, peak: float) -> Floats:
        """Return a diurnal cycle from -1 to 1 with its maximum at a local solar hour."""
        return np.asarray(np.cos(2 * np.pi * (self.hour - peak) / 24))

    @property
    def _shape(self) -> tuple[int, int]:
        return len(self.times), len(self.places.longitude)

    @property
    def _phi(self) -> Floats:
        return np.radians(self.places.latitude)

    @cached_property
    def _basis(self) -> Floats:
        return self.waves.basis(self.places.plane)

    @cached_property
    def _strength(self) -> float:
        """Factor that gives the eddies of a unit stream function a speed of `_EDDIES`, m2 s-1."""
        return float(_EDDIES / np.sqrt(np.mean(np.sum(self.waves.wavenumbers**2, axis=0)) / 2))

    def _slope(self, axis: int) -> Floats:
        return np.asarray(self._strength * self.waves.slope(self._amplitudes("eddies"), axis) @ self._basis)

    def _amplitudes(self, name: str) -> Floats:
        if name not in self.weights:
            self.weights[name] = self.waves.amplitudes(self.times, name)
        return self.weights[name]

    def _yearly(self, peak: float) -> Floats:
        phase = 2 * np.pi * ((self.times[:, np.newaxis] - _NEW_YEAR - peak) / _YEAR)
        return np.asarray(np.cos(phase))

    def _made(self, name: str, spec: FieldSpec) -> Floats:
        value = spec.mean + spec.spread * self.tracer(name)
        value += spec.diurnal * self.daily(spec.peak) + spec.seasonal * self.season
        return np.clip(value, spec.minimum, spec.maximum)


def _humidity(air: Air) -> Floats:
    dew, warm = (17.625 * value / (243.04 + value) for value in (air.dew, air.temperature))
    return np.asarray(100 * np.exp(dew - warm))


def _direction(air: Air) -> Floats:
    east, north = air.flow
    return np.asarray(np.degrees(np.arctan2(-east, -north)) % 360)


def _rain(air: Air) -> Floats:
    return np.asarray(2 * np.maximum(0, air.moisture - 0.8) ** 1.5 * air.step / 3600)


def _sunshine(air: Air) -> Floats:
    return np.asarray(1361 * 0.76 * np.maximum(0, air.elevation) * (1 - 0.75 * ndtr(air.moisture)))


_SKIES: Mapping[str, Sky] = {
    "eastward_wind": lambda air: air.flow[0],
    "northward_wind": lambda air: air.flow[1],
    "wind_speed": lambda air: air.speed,
    "wind_speed_of_gust": lambda air: 1.5 * air.speed + 1,
    "wind_from_direction": _direction,
    "air_temperature": lambda air: air.temperature,
    "dew_point_temperature": lambda air: air.dew,
    "relative_humidity": _humidity,
    "air_pressure_at_mean_sea_level": lambda air: air.pressure,
    "precipitation_amount": _rain,
    "surface_downwelling_shortwave_flux_in_air": _sunshine,
}


def properties(name: str, fields: Mapping[str, FieldSpec]) -> Properties:
    """Return the properties of a variable: from the product file if it describes the variable, else built in."""
    spec = fields.get(name)
    return Properties(spec.spread, spec.minimum, spec.maximum) if spec else KNOWN[name]
