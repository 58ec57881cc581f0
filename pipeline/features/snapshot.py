"""A snapshot: all that a job may see of a product's observations at one instant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from models.task import Task
from pipeline.config import Product, Settings
from pipeline.errors import NoDataError
from pipeline.features.cache import history
from pipeline.features.frames import Frames, build_frames
from pipeline.features.windows import make_task
from pipeline.locations import Locations, read_locations
from pipeline.store.observations import Observations
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

    @property
    def digest(self) -> str:
        """SHA-256 of the frames: equal for equal data, whatever the history of the table."""
        return self.frames.digest()


def take_snapshot(
    product: Product, settings: Settings, *, known_by: datetime, since: datetime | None = None
) -> Snapshot:
    """Return the observations known at an instant, from a valid time on.

    The whole history is mapped from the cache of frames and takes no memory until it is read. A part of it is built in
    memory from the months that it touches, so it costs the same however long the history is.

    Raises:
        NoDataError: nothing was known then.
        StoreError: the observations cannot be read, or the cache not be written.
    """
    locations = read_locations(product.feed)
    if since is None:
        frames, version = history(product.feed, settings, locations, known_by=known_by)
    else:
        observations = Observations.of(product.feed, settings)
        version = observations.table.version
        frames = _recent(product, observations, locations, known_by, since)
    return Snapshot(product, locations, Cadence.of(product), make_task(product, locations), frames, known_by, version)


def _recent(
    product: Product, observations: Observations, locations: Locations, known_by: datetime, since: datetime
) -> Frames:
    rows = observations.read(known_by=known_by, since=since)
    if rows.num_rows == 0:
        raise NoDataError(
            f"{product.name}: nothing was known by {known_by:%Y-%m-%d %H:%M} UTC; run `nightcast ingest` first"
        )
    return build_frames(
        rows,
        locations=locations.ids,
        variables=tuple(product.feed.variables),
        step=product.feed.step,
        grid=locations.shape,
    )
