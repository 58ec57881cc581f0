"""Future covariates: values of a feed known in advance, such as a weather model, at the valid times of a forecast.

The known_at of a row is the publication time of the model run that it comes from. Where several runs have a value for
a valid time, the newest run published by the issue time counts; later runs are never used.

A `Covariate` has its own locations and its own step. `FutureCovariates` regrids all covariates of a product to the
locations of the forecast, in the order of `Task.covariates`.
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
from pipeline.features.cache import load_history
from pipeline.features.frames import frames_from_rows
from pipeline.features.regrid import Regrid
from pipeline.ingest.feed import OpenFeed
from pipeline.locations import Locations
from pipeline.steps import add, count_steps, shift
from pipeline.times import Cadence, as_numpy


@dataclass(frozen=True)
class Covariate:
    """One covariate feed as known at an instant, on its own locations and its own step."""

    feed: Feed
    locations: Locations
    frames: Frames | None
    """None where nothing was known then."""
    known_by: datetime

    @property
    def channels(self) -> tuple[str, ...]:
        """Its variables, in the order of the channel axis."""
        return tuple(self.feed.variables)

    def values_and_mask(self, issues: NDArray[np.datetime64], times: NDArray[np.datetime64]) -> tuple[Float, Bool]:
        """Return the values of valid times as known at issue times, 0 where unknown, and their mask.

        Both are (window, lead, channel, location). Valid times must match exactly: a covariate with a longer step is
        unknown at the times in between, one with a shorter step gives its value at that instant.

        Args:
            issues: (window,) issue times, UTC, none after `known_by`.
            times: (window, lead) valid times, UTC.

        Raises:
            NightcastError: an issue time is after `known_by`, so that later runs were not read.
        """
        instants = issues.astype("datetime64[us]").astype(np.int64)
        if len(instants) and instants.max() > as_numpy(self.known_by).astype(np.int64):
            raise NightcastError(
                f"{self.feed.title}: read as known by {self.known_by}, cannot be used for {issues.max()}"
            )
        shape = (len(issues), times.shape[1], len(self.channels), len(self.locations))
        if self.frames is None:
            return np.zeros(shape, np.float32), np.zeros(shape, np.bool_)
        start, step, wanted = self.frames.times[0], self.frames.step, times.astype("datetime64[us]")
        position: Int = count_steps(start, wanted, step)
        position[shift(start, position, step) != wanted] = -1  # before the axis: unknown
        known_by = np.repeat(instants, times.shape[1])
        values, mask = windows_as_of(self.frames, position.ravel(), known_by, 1)
        return values.reshape(shape), mask.reshape(shape)

    def digest(self) -> str:
        """Return the SHA-256 of the values and the locations."""
        at = self.locations
        parts = [at.ids, at.longitude, at.latitude, self.frames.digest() if self.frames else ""]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True)
class UnreadableCovariate:
    """A covariate that could not be read, and the text of the error."""

    name: str
    error: str


@dataclass(frozen=True)
class FutureCovariates:
    """The future covariates of a product, at the locations of the forecast."""

    parts: tuple[tuple[Covariate, Regrid], ...] = ()
    unreadable: tuple[UnreadableCovariate, ...] = ()
    """Covariates that are missing everywhere because they could not be read."""

    def __bool__(self) -> bool:
        return bool(self.parts)

    def values_and_mask(self, issues: NDArray[np.datetime64], times: NDArray[np.datetime64]) -> tuple[Float, Bool]:
        """Return the values of valid times as known at issue times, 0 where unknown, and their mask.

        Both are (window, lead, covariate, location), with covariates in the order of `covariate_names`.

        Args:
            issues: (window,) issue times, UTC.
            times: (window, lead) valid times, UTC.
        """
        regridded = [regrid(*covariate.values_and_mask(issues, times)) for covariate, regrid in self.parts]
        values, mask = zip(*regridded, strict=True)
        return np.concatenate(values, axis=2), np.concatenate(mask, axis=2)

    @property
    def without_rows(self) -> tuple[str, ...]:
        """Names of the covariates without any observation."""
        return tuple(covariate.feed.name for covariate, _ in self.parts if covariate.frames is None)

    def digest(self) -> str:
        """Return the SHA-256 of all covariates."""
        return hashlib.sha256("".join(covariate.digest() for covariate, _ in self.parts).encode()).hexdigest()


def covariate_names(product: Product) -> tuple[str, ...]:
    """Return the names of covariates in models, e.g. ``nwp.air_temperature``, in the order of the product file."""
    return tuple(f"{name}.{variable}" for name, feed in product.covariates.items() for variable in feed.variables)


def load_future_covariates(
    feeds: Mapping[str, OpenFeed], locations: Locations, *, known_by: datetime
) -> FutureCovariates:
    """Return the whole history of a product's covariates, at the locations that it forecasts, as known at an instant.

    Raises:
        ConfigError: the locations of a covariate cannot be read.
        StoreError: its observations cannot be read, or the cache cannot be written.
    """
    covariates = (load_covariate(feed, known_by=known_by) for feed in feeds.values())
    return FutureCovariates(tuple((one, Regrid.between(one.locations, locations)) for one in covariates))


def load_covariates_at_issue(
    feeds: Mapping[str, OpenFeed], cadence: Cadence, locations: Locations, *, issue_time: datetime
) -> FutureCovariates:
    """Return what an issue time needs of a product's covariates, at the locations that it forecasts.

    A covariate that cannot be read is missing everywhere instead of an error; `unreadable` has it.

    Raises:
        ConfigError: the locations of a covariate cannot be read.
    """
    parts, unreadable = [], []
    origin = cadence.origin(issue_time)
    first, last = (add(origin, steps, cadence.step) for steps in (1, cadence.leads))
    for name, feed in feeds.items():
        try:
            covariate = load_covariate(feed, known_by=issue_time, since=first, until=last)
        except NightcastError as error:
            unreadable.append(UnreadableCovariate(name, str(error)))
            covariate = Covariate(feed.spec, feed.locations, None, issue_time)
        parts.append((covariate, Regrid.between(covariate.locations, locations)))
    return FutureCovariates(tuple(parts), tuple(unreadable))


def load_covariate(
    feed: OpenFeed, *, known_by: datetime, since: datetime | None = None, until: datetime | None = None
) -> Covariate:
    """Return a covariate as known at an instant; a feed without observations is unknown everywhere.

    Without `since` and `until`, it holds the whole history, memory-mapped from the cache of frames.

    Raises:
        StoreError: its observations cannot be read, or the cache cannot be written.
    """
    spec, locations = feed.spec, feed.locations
    frames: Frames | None
    if since is None and until is None:
        try:
            frames, _ = load_history(feed, known_by=known_by)
        except NoDataError:
            frames = None
    else:
        rows = feed.observations.read(known_by=known_by, since=since, until=until)
        variables = tuple(spec.variables)
        frames = frames_from_rows(rows, locations=locations.ids, variables=variables, step=spec.step)
    return Covariate(spec, locations, frames, known_by)
