"""Covariates: what a feed known in advance, such as a weather model, had said of the lead times at an issue time.

A row's known_at is when the run that it is from was published; several runs say something of one valid time, and the
newest that was published by the issue time counts. What was published later is never seen.

A `Covariate` is read on its own locations and its own step. `FutureCovariates` regrids all covariates of a product to
the locations of the forecast, in the order of `Task.covariates`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Feed, Product
from pipeline.errors import NightcastError, NoDataError
from pipeline.features.arrays import Bool, Float, Frames, Int
from pipeline.features.asof import windows_as_of
from pipeline.features.cache import history
from pipeline.features.frames import arrange
from pipeline.features.regrid import Regrid
from pipeline.ingest.feed import OpenFeed
from pipeline.locations import Locations
from pipeline.times import Cadence, as_numpy


@dataclass(frozen=True)
class Covariate:
    """One covariate feed as of an instant, on its own locations and its own step."""

    feed: Feed
    locations: Locations
    frames: Frames | None
    """None where nothing was known."""
    known_by: datetime

    @property
    def channels(self) -> tuple[str, ...]:
        """Its variables, in the order of the channel axis."""
        return tuple(self.feed.variables)

    def at(self, issues: NDArray[np.datetime64], times: NDArray[np.datetime64]) -> Float:
        """Return what was known of valid times at issue times: (window, lead, channel, location), NaN for nothing.

        A valid time is met exactly: where a covariate has a longer step, the times in between are unknown; where it
        has a shorter one, the value at that instant is taken.

        Args:
            issues: (window,) issue times, UTC, none after `known_by`.
            times: (window, lead) valid times, UTC.

        Raises:
            NightcastError: an issue time lies after `known_by`: what was published until then has not been read.
        """
        values, mask = self.told(issues, times)
        return np.where(mask, values, np.float32(np.nan))

    def told(self, issues: NDArray[np.datetime64], times: NDArray[np.datetime64]) -> tuple[Float, Bool]:
        """Return what `at` does as values, 0 where nothing was known, and a mask, True where something was."""
        instants = issues.astype("datetime64[us]").astype(np.int64)
        if len(instants) and instants.max() > as_numpy(self.known_by).astype(np.int64):
            raise NightcastError(f"{self.feed.title}: read as known by {self.known_by}, asked for {issues.max()}")
        shape = (len(issues), times.shape[1], len(self.channels), len(self.locations))
        if self.frames is None:
            return np.zeros(shape, np.float32), np.zeros(shape, np.bool_)
        step = np.timedelta64(self.frames.step)
        since = times.astype("datetime64[us]") - self.frames.times[0]
        position: Int = since // step
        position[since % step != np.timedelta64(0)] = -1  # before the axis, where nothing is known
        known_by = np.repeat(instants, times.shape[1])
        values, mask = windows_as_of(self.frames, position.ravel(), known_by, 1)
        return values.reshape(shape), mask.reshape(shape)

    def digest(self) -> str:
        """Return the SHA-256 of everything a reader can see, where it lies included."""
        where = self.locations
        parts = [where.ids, where.longitude, where.latitude, self.frames.digest() if self.frames else ""]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True)
class FutureCovariates:
    """What all covariates of a product had said of the times to come, at the locations that are forecast."""

    parts: tuple[tuple[Covariate, Regrid], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.parts)

    def at(self, issues: NDArray[np.datetime64], times: NDArray[np.datetime64]) -> tuple[Float, Bool]:
        """Return what was known of valid times at issue times, in the order of `covariate_names`.

        Args:
            issues: (window,) issue times, UTC.
            times: (window, lead) valid times, UTC.

        Returns:
            Values (window, lead, covariate, location), 0 where nothing was known, and the mask, True where something
            was.
        """
        told = [regrid(*covariate.told(issues, times)) for covariate, regrid in self.parts]
        values, mask = zip(*told, strict=True)
        return np.concatenate(values, axis=2), np.concatenate(mask, axis=2)

    @property
    def without_rows(self) -> tuple[str, ...]:
        """Names of covariates of which nothing is known at all."""
        return tuple(covariate.feed.name for covariate, _ in self.parts if covariate.frames is None)

    def digest(self) -> str:
        """Return the SHA-256 of everything a reader can see."""
        return hashlib.sha256("".join(covariate.digest() for covariate, _ in self.parts).encode()).hexdigest()


def covariate_names(product: Product) -> tuple[str, ...]:
    """Return what models call the covariates of a product, e.g. ``nwp.air_temperature``, in the order of its file."""
    return tuple(f"{name}.{variable}" for name, feed in product.covariates.items() for variable in feed.variables)


def take_future_covariates(
    feeds: Mapping[str, OpenFeed],
    cadence: Cadence,
    locations: Locations,
    *,
    known_by: datetime,
    faults: list[str] | None = None,
) -> FutureCovariates:
    """Return the covariates of a product at the locations that it forecasts, as known at an instant.

    By default it is their whole history. With `faults` it is what an issue time at `known_by` needs, and a covariate
    that cannot be read is unknown everywhere instead of an error: `faults` then has a line for it.

    Raises:
        ConfigError: the locations of a covariate cannot be read.
        StoreError: its observations cannot be read, or the cache not be written.
    """
    parts = []
    origin = cadence.origin(known_by)
    for name, feed in feeds.items():
        if faults is None:
            covariate = take_covariate(feed, known_by=known_by)
        else:
            first, last = origin + cadence.step, origin + cadence.leads * cadence.step
            try:
                covariate = take_covariate(feed, known_by=known_by, since=first, until=last)
            except NightcastError as error:
                faults.append(f"covariate {name} cannot be read: {error}")
                covariate = Covariate(feed.spec, locations, None, known_by)
        parts.append((covariate, Regrid.between(covariate.locations, locations)))
    return FutureCovariates(tuple(parts))


def take_covariate(
    feed: OpenFeed, *, known_by: datetime, since: datetime | None = None, until: datetime | None = None
) -> Covariate:
    """Return what was known of a covariate at an instant; a feed that has said nothing yet is unknown everywhere.

    Without `since` and `until` it is the whole history, mapped from the cache of frames.

    Raises:
        StoreError: its observations cannot be read, or the cache not be written.
    """
    spec, locations = feed.spec, feed.locations
    frames: Frames | None
    if since is None and until is None:
        try:
            frames, _ = history(feed, known_by=known_by)
        except NoDataError:
            frames = None
    else:
        rows = feed.observations.read(known_by=known_by, since=since, until=until)
        variables = tuple(spec.variables)
        frames = arrange(rows, locations=locations.ids, variables=variables, step=spec.step, grid=locations.shape)
    return Covariate(spec, locations, frames, known_by)
