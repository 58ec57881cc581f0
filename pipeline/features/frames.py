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
    rows = rows.append_column("place", place).filter(pc.is_valid(place))
    if rows.num_rows == 0:
        raise NoDataError("no observations of any location of the product; run `nightcast ingest` first")
    valid = rows["valid_time"].cast(pa.int64()).to_numpy()
    known = rows["known_at"].cast(pa.int64()).to_numpy()
    where = rows["place"].to_numpy().astype(np.int64)
    values = np.stack([rows[name].to_numpy().astype(np.float32) for name in variables], axis=1)
    width = step // timedelta(microseconds=1)
    start, stop = int(valid.min()), int(valid.max())
    time_index = (valid - start) // width
    order = np.lexsort((known, where, time_index))
    time_index, where, known, values = time_index[order], where[order], known[order], values[order]
    later = np.zeros(len(order), bool)
    later[1:] = (time_index[1:] == time_index[:-1]) & (where[1:] == where[:-1])

    count = (stop - start) // width + 1
    first = np.full((count, len(variables), len(locations)), np.nan, np.float32)
    known_at = np.full((count, len(locations)), NEVER, np.int64)
    first[time_index[~later], :, where[~later]] = values[~later]
    known_at[time_index[~later], where[~later]] = known[~later]
    by_frame = np.lexsort((known[later], time_index[later]))
    revisions = Revisions(
        time_index[later][by_frame], where[later][by_frame], known[later][by_frame], values[later][by_frame]
    )
    times = (start + width * np.arange(count)).astype("datetime64[us]")
    return Frames(times, step, first, known_at, revisions)
