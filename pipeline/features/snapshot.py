"""A snapshot: all that a job may see of a product's observations at one instant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from models.task import Task
from pipeline.config import Product, Settings
from pipeline.errors import NoDataError
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

    Raises:
        NoDataError: nothing was known then.
    """
    observations = Observations.of(product, settings)
    locations = read_locations(product)
    rows = observations.read(known_by=known_by, since=since)
    if rows.num_rows == 0:
        raise NoDataError(
            f"{product.name}: nothing was known by {known_by:%Y-%m-%d %H:%M} UTC; run `nightcast ingest` first"
        )
    frames = build_frames(
        rows, locations=locations.ids, variables=tuple(product.feed.variables), step=product.feed.step
    )
    task = make_task(product, locations)
    return Snapshot(product, locations, Cadence.of(product), task, frames, known_by, observations.table.version)
