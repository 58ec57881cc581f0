"""A snapshot: all that a job may see of a product's observations at one instant."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from models.task import Task
from pipeline.config import Product
from pipeline.errors import NoDataError
from pipeline.features.cache import history
from pipeline.features.covariates import FutureCovariates, take_future_covariates
from pipeline.features.frames import Frames, build_frames
from pipeline.features.windows import IssueWindows, make_task
from pipeline.ingest.feed import OpenFeed
from pipeline.locations import Locations
from pipeline.times import Cadence


@dataclass(frozen=True)
class Snapshot:
    """Frames as of an instant, and how they are to be read."""

    product: Product
    locations: Locations
    cadence: Cadence
    task: Task
    frames: Frames
    known_by: datetime
    table_version: int
    ahead: FutureCovariates = field(default_factory=FutureCovariates)
    """What covariates had said of the times to come; nothing in a snapshot of a part of the history."""

    @property
    def digest(self) -> str:
        """SHA-256 of the frames and the covariates: equal for equal data, whatever the history of the tables."""
        if not self.ahead:
            return self.frames.digest()
        return hashlib.sha256(f"{self.frames.digest()} {self.ahead.digest()}".encode()).hexdigest()

    def windows(self, issues: Sequence[datetime], *, truth_at: datetime) -> IssueWindows:
        """Return the windows of some issue times, none of them after `known_by`, with the truth as of an instant."""
        return IssueWindows(self.task, self.cadence, self.frames, issues, truth_at=truth_at, ahead=self.ahead)


def take_snapshot(
    product: Product,
    cadence: Cadence,
    feed: OpenFeed,
    covariates: Mapping[str, OpenFeed],
    *,
    known_by: datetime,
    since: datetime | None = None,
) -> Snapshot:
    """Return the observations known at an instant, from a valid time on.

    The whole history, with that of the covariates, is mapped from the cache of frames and takes no memory until it is
    read. A part of it is built in memory from the months that it touches, so it costs the same however long the
    history is; it has no covariates.

    Raises:
        NoDataError: nothing was known then.
        StoreError: the observations cannot be read, or the cache not be written.
    """
    locations = feed.locations
    if since is None:
        frames, version = history(feed, known_by=known_by)
        ahead = take_future_covariates(covariates, cadence, locations, known_by=known_by)
    else:
        ahead = FutureCovariates()
        version = feed.observations.table.version
        frames = _recent(feed, known_by, since)
    task = make_task(product, cadence, locations)
    return Snapshot(product, locations, cadence, task, frames, known_by, version, ahead)


def _recent(feed: OpenFeed, known_by: datetime, since: datetime) -> Frames:
    rows = feed.observations.read(known_by=known_by, since=since)
    if rows.num_rows == 0:
        raise NoDataError(
            f"{feed.title}: nothing was known by {known_by:%Y-%m-%d %H:%M} UTC; run `nightcast ingest` first"
        )
    return build_frames(
        rows,
        locations=feed.locations.ids,
        variables=tuple(feed.spec.variables),
        step=feed.spec.step,
        grid=feed.locations.shape,
    )
