"""A snapshot: the observations of a product as known at one instant."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from models.task import Task
from pipeline.config import Product
from pipeline.errors import NoDataError
from pipeline.features.arrays import ALWAYS, Frames
from pipeline.features.cache import load_history
from pipeline.features.covariates import FutureCovariates, load_future_covariates
from pipeline.features.frames import build_frames
from pipeline.features.windows import IssueWindows, make_task
from pipeline.ingest.feed import OpenFeed
from pipeline.locations import Locations
from pipeline.times import Cadence, as_datetime


@dataclass(frozen=True)
class Snapshot:
    """Frames and covariates as known at an instant, with the task and the cadence they are read for."""

    product: Product
    locations: Locations
    cadence: Cadence
    task: Task
    frames: Frames
    known_by: datetime
    table_version: int
    covariates: FutureCovariates = field(default_factory=FutureCovariates)
    """Empty in a snapshot of a part of the history."""

    @property
    def digest(self) -> str:
        """SHA-256 of the frames and the covariates; equal for equal data, however the tables came about."""
        if not self.covariates:
            return self.frames.digest()
        return hashlib.sha256(f"{self.frames.digest()} {self.covariates.digest()}".encode()).hexdigest()

    @property
    def newest_known(self) -> datetime:
        """The time by which every observation was known; at an archive that has ended, long before `known_by`."""
        newest = max(int(self.frames.complete_through[-1]), int(self.frames.revisions.known_at.max(initial=ALWAYS)))
        return min(self.known_by, as_datetime(np.datetime64(newest, "us")))

    def windows(self, issues: Sequence[datetime], *, truth_at: datetime) -> IssueWindows:
        """Return the windows of issue times, none after `known_by`; their targets are as known at `truth_at`."""
        return IssueWindows(self.task, self.cadence, self.frames, issues, truth_at=truth_at, covariates=self.covariates)


def take_snapshot(
    product: Product,
    cadence: Cadence,
    feed: OpenFeed,
    covariates: Mapping[str, OpenFeed],
    *,
    known_by: datetime,
    since: datetime | None = None,
) -> Snapshot:
    """Return the observations known at an instant, of all valid times or of those from `since`.

    The whole history, with the covariates, is memory-mapped from the cache of frames. With `since`, frames are built in
    memory from the months concerned, at a cost that does not grow with the history, and without covariates.

    Raises:
        NoDataError: nothing was known then.
        StoreError: the observations cannot be read, or the cache cannot be written.
    """
    locations = feed.locations
    if since is None:
        frames, version = load_history(feed, known_by=known_by)
        future = load_future_covariates(covariates, locations, known_by=known_by)
    else:
        future = FutureCovariates()
        version = feed.observations.table.version
        frames = _recent(feed, known_by, since)
    task = make_task(product, cadence, locations)
    return Snapshot(product, locations, cadence, task, frames, known_by, version, future)


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
    )
