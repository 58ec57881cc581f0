"""Covariates: what a feed known in advance, such as a weather model, had said of the lead times at an issue time.

A row's known_at is when the run that it is from was published; several runs say something of one valid time, and the
newest that was published by the issue time counts. What was published later is never seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Feed, Product, Settings
from pipeline.errors import ConfigError, NightcastError, NoDataError
from pipeline.features.arrays import Float, Frames, Int, Times
from pipeline.features.asof import windows_as_of
from pipeline.features.cache import history
from pipeline.features.frames import arrange
from pipeline.locations import Locations, read_locations
from pipeline.store.observations import Observations
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
        instants = issues.astype("datetime64[us]").astype(np.int64)
        if len(instants) and instants.max() > as_numpy(self.known_by).astype(np.int64):
            raise NightcastError(f"{self.feed.title}: read as known by {self.known_by}, asked for {issues.max()}")
        shape = (len(issues), times.shape[1], len(self.channels), len(self.locations))
        if self.frames is None:
            return np.full(shape, np.nan, np.float32)
        step = np.timedelta64(self.frames.step)
        since = times.astype("datetime64[us]") - self.frames.times[0]
        position: Int = since // step
        position[since % step != np.timedelta64(0)] = -1  # before the axis, where nothing is known
        known_by = np.repeat(instants, times.shape[1])
        values, mask = windows_as_of(self.frames, position.ravel(), known_by, 1)
        return np.where(mask, values, np.float32(np.nan)).reshape(shape)


def take_covariate(
    product: Product,
    settings: Settings,
    name: str,
    *,
    known_by: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Covariate:
    """Return what was known of a covariate at an instant; a feed that has said nothing yet is unknown everywhere.

    Without `since` and `until` it is the whole history, mapped from the cache of frames.

    Raises:
        ConfigError: the product has no such covariate.
        StoreError: its observations cannot be read, or the cache not be written.
    """
    feed = _feed(product, name)
    locations = read_locations(feed)
    frames: Frames | None
    if since is None and until is None:
        try:
            frames, _ = history(feed, settings, locations, known_by=known_by)
        except NoDataError:
            frames = None
    else:
        rows = Observations.of(feed, settings).read(known_by=known_by, since=since, until=until)
        variables = tuple(feed.variables)
        frames = arrange(rows, locations=locations.ids, variables=variables, step=feed.step, grid=locations.shape)
    return Covariate(feed, locations, frames, known_by)


def covariate_frames(product: Product, settings: Settings, name: str, issues: Sequence[datetime]) -> Float:
    """Return what was known of a covariate at each issue time, for the lead times of a model.

    The leads are those of `Inputs.target_time`: the frames after the newest one that the issue time can know, so the
    gap before the issue time is among them.

    Returns:
        (window, lead, channel, location) of the covariate's own variables and locations, NaN where nothing was known.

    Raises:
        ConfigError: the product has no such covariate.
        StoreError: its observations cannot be read.
    """
    cadence, feed = Cadence.of(product), _feed(product, name)
    if not issues:
        return np.zeros((0, cadence.leads, len(feed.variables), len(read_locations(feed))), np.float32)
    origins = [cadence.origin(issue) for issue in issues]
    first, last = min(origins) + cadence.step, max(origins) + cadence.leads * cadence.step
    covariate = take_covariate(product, settings, name, known_by=max(issues), since=first, until=last)
    ahead = np.arange(1, cadence.leads + 1) * np.timedelta64(cadence.step)
    return covariate.at(_numpy(issues), _numpy(origins)[:, None] + ahead)


def _feed(product: Product, name: str) -> Feed:
    if name not in product.covariates:
        known = ", ".join(product.covariates) or "none"
        raise ConfigError(product.name, "covariates", f"no covariate '{name}'", f"known: {known}")
    return product.covariates[name]


def _numpy(instants: Sequence[datetime]) -> Times:
    return np.array([as_numpy(instant) for instant in instants], "datetime64[us]")
