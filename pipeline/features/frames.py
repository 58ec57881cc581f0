"""Observations as arrays on a regular time axis, with all it takes to see them as they were known at any instant."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.errors import NoDataError
from pipeline.times import as_numpy

Float = NDArray[np.float32]
Times = NDArray[np.datetime64]
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Revisions:
    """Changed values, ordered by the frame they change and then by when the change became known."""

    time_index: NDArray[np.int64]
    location_index: NDArray[np.int64]
    known_at: NDArray[np.int64]
    """Microseconds since the epoch, UTC."""
    values: Float
    """(revision, channel)"""


@dataclass(frozen=True)
class Frames:
    """Observations of all locations on one time axis without gaps, first known values and their revisions."""

    times: Times
    """(time,) valid times, UTC microseconds, one `step` apart."""
    step: timedelta
    first: Float
    """(time, channel, location) values as first known, NaN where there is none."""
    known_at: NDArray[np.int64]
    """(time, location) when the first value became known, microseconds since the epoch; `NEVER` where there is none."""
    revisions: Revisions

    def index(self, instant: datetime) -> int:
        """Return the position of a valid time on the axis; it may lie before or after the axis."""
        return int((as_numpy(instant) - self.times[0]) // np.timedelta64(self.step))

    def digest(self) -> str:
        """Return the SHA-256 of everything a reader of these frames can see."""
        digest = hashlib.sha256()
        changed = self.revisions
        for array in (
            self.times,
            self.first,
            self.known_at,
            changed.time_index,
            changed.location_index,
            changed.known_at,
            changed.values,
        ):
            digest.update(str((array.dtype, array.shape)).encode())
            digest.update(np.ascontiguousarray(array).view(np.uint8).data)
        return digest.hexdigest()


def build_frames(rows: pa.Table, *, locations: tuple[str, ...], variables: tuple[str, ...], step: timedelta) -> Frames:
    """Arrange bitemporal rows (valid_time, location, known_at, variables) as frames.

    Every row lies on the grid of `step`; rows of other locations are left out. The order of the rows does not matter.

    Raises:
        NoDataError: there is no row of any of the locations.
    """
    place = pc.index_in(rows["location"], value_set=pa.array(locations))
    if place.null_count:
        rows, place = rows.filter(pc.is_valid(place)), place.drop_null()
    if rows.num_rows == 0:
        raise NoDataError("no observations of any location of the product; run `nightcast ingest` first")
    valid = rows["valid_time"].cast(pa.int64()).to_numpy()
    known = rows["known_at"].cast(pa.int64()).to_numpy()
    values = [rows[name].to_numpy().astype(np.float32) for name in variables]
    width = step // timedelta(microseconds=1)
    start, stop = int(valid.min()), int(valid.max())
    count, places = (stop - start) // width + 1, len(locations)
    cell = (valid - start) // width * places + place.to_numpy()

    # Most cells have one row: it is put where it belongs without sorting. The few others are sorted by known_at.
    repeated = np.flatnonzero(np.bincount(cell, minlength=count * places)[cell] > 1)
    ordered = repeated[np.lexsort((known[repeated], cell[repeated]))]
    again = np.zeros(len(ordered), bool)
    again[1:] = cell[ordered[1:]] == cell[ordered[:-1]]
    later = ordered[again]
    once = np.ones(len(cell), bool)
    once[later] = False

    first = np.empty((count, len(variables), places), np.float32)
    for channel, column in enumerate(values):
        plane = np.full(count * places, np.nan, np.float32)
        plane[cell[once]] = column[once]
        first[:, channel] = plane.reshape(count, places)
    known_at = np.full(count * places, NEVER, np.int64)
    known_at[cell[once]] = known[once]

    frame, location = np.divmod(cell[later], places)
    by_frame = np.lexsort((known[later], frame))
    changed = np.stack([column[later] for column in values], axis=1)[by_frame]
    revisions = Revisions(frame[by_frame], location[by_frame], known[later][by_frame], changed)
    times = (start + width * np.arange(count)).astype("datetime64[us]")
    return Frames(times, step, first, known_at.reshape(count, places), revisions)
