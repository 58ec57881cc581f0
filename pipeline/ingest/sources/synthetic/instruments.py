"""Instrument readings of the simulated weather: with bias, noise, rounding and sensor faults."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np

from expectations.variables import KNOWN as CANONICAL
from pipeline.config import Feed
from pipeline.config.sources.synthetic import SyntheticSource
from pipeline.errors import ConfigError
from pipeline.ingest.sources.synthetic.climate import KNOWN, Air, Places, Properties, properties
from pipeline.ingest.sources.synthetic.faults import FaultModel
from pipeline.ingest.sources.synthetic.waves import Floats, Times, Waves, Wind
from pipeline.locations import Locations
from pipeline.steps import mean_length
from pipeline.units import convert

_PLACES = 4096  # evaluated at once, since the waves at all cells of a large grid do not fit into memory


class Instruments:
    """The instruments at the stations of a feed.

    Raises:
        ConfigError: a variable is neither built in nor described in the product file.
    """

    def __init__(self, feed: Feed, spec: SyntheticSource, locations: Locations) -> None:
        self._feed, self._spec = feed, spec
        for name in feed.variables:
            if name not in spec.fields and name not in KNOWN:
                problem = f"'{name}' is not a synthetic variable"
                remedy = f"use one of {', '.join(KNOWN)}, or describe it in feed.source.fields.{name}"
                raise ConfigError(feed.title, "feed.variables", problem, remedy)
        self._step = round(mean_length(feed.step).total_seconds())
        self.faults = FaultModel(spec.faults, locations.ids, self._step, spec.seed, feed.name)
        wind = Wind(spec.speed, np.radians(spec.direction + 180), spec.turning.total_seconds())
        self._waves = Waves(
            spec.seed,
            spec.modes,
            length=spec.length * 1000,
            memory=spec.memory.total_seconds(),
            diffusivity=spec.diffusivity,
            wind=wind,
        )
        self._wind = wind
        longitude, latitude = np.array(locations.longitude), np.array(locations.latitude)
        centre = spec.centre or (_middle(longitude), float(np.clip(_middle(latitude), -80, 80)))
        self._places = Places(longitude, latitude, centre)

    def delivered(self, variable: str) -> str:
        """Return the unit in which a variable is delivered."""
        return self._feed.variables[variable].source_units or self._feed.variable(variable).units

    def truth(self, times: Times) -> Mapping[str, Floats]:
        """Return each variable without errors, shape (time, station), in its canonical unit."""
        names = tuple(self._feed.variables)
        air = Air(self._waves, self._wind, self._places, times, self._step, self._spec.fields)
        values = {name: np.empty((len(times), len(self._places.longitude))) for name in names}
        for first in range(0, len(self._places.longitude), _PLACES):
            where = slice(first, first + _PLACES)
            part = air.part(where)
            for name in names:
                values[name][:, where] = part.true(name)
        return values

    def readings(self, times: Times, *, preliminary: bool = False) -> Mapping[str, Floats]:
        """Return each variable as delivered, shape (time, station); NaN for values that are never published.

        `preliminary` values are those that a revision corrects later.
        """
        faults = self._spec.faults
        shown = self._measured(times)
        held: Mapping[str, Floats] = {}
        place = np.zeros(len(times), np.int64)
        if faults.stuck.share:
            began, place = np.unique(self.faults.began(times, faults.stuck), return_inverse=True)
            held = self._measured(began)
        readings = {}
        for name, values in shown.items():
            like = properties(name, self._spec.fields)
            stuck = self.faults.stuck(times, name)
            if name in held:
                values = np.where(stuck, held[name][place], values)
            if preliminary:
                error = faults.revised.scale * like.spread * self.faults.normal("preliminary", times, name)
                values = _within(like, values, error)
            if faults.spikes.share:
                far = faults.spikes.scale * like.spread * np.sign(self.faults.normal("spike side", times, name))
                values = np.where(self.faults.spikes(times, name) & ~stuck, values + far, values)
            readings[name] = self._written(name, values, times)
            readings[name][self.faults.missing(times, name)] = np.nan
        return readings

    def _measured(self, times: Times) -> Mapping[str, Floats]:
        """Return each variable with measurement errors, in its canonical unit."""
        measured = {}
        for name, values in self.truth(times).items():
            like = properties(name, self._spec.fields)
            error = self._spec.bias * self.faults.constant("bias", name)
            if self._spec.noise:
                error = error + self._spec.noise * self.faults.normal("noise", times, name)
            measured[name] = _within(like, values, like.spread * error)
        return measured

    def _written(self, name: str, values: Floats, times: Times) -> Floats:
        """Return values in the units delivered, rounded."""
        usual = self.delivered(name)
        own = usual if name in self._spec.fields else CANONICAL[name].units
        written = convert(values, own, usual)
        for change in self._spec.faults.unit_change:
            if change.variable == name:
                until = change.until or datetime.max.replace(tzinfo=UTC)
                when = (times >= change.at.timestamp()) & (times <= until.timestamp())
                written = np.where(when[:, np.newaxis], convert(values, own, change.units), written)
        return np.round(written, self._spec.decimals) + 0.0  # no minus zero


def _within(like: Properties, values: Floats, error: Floats) -> Floats:
    """Return values with an error, within physical limits: where it does not rain, no rain is measured."""
    if like.low is None and like.high is None:
        return values + error
    if like.circular:
        return np.asarray((values + error) % 360)
    wrong = np.clip(values + error, like.low, like.high)
    return wrong if like.low is None else np.where(values > like.low, wrong, values)


def _middle(coordinates: Floats) -> float:
    return float((coordinates.min() + coordinates.max()) / 2)
