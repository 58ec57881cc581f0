"""Observations as arrays on a regular time axis, with all it takes to see them as they were known at any instant."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.times import as_numpy

Bool = NDArray[np.bool_]
Float = NDArray[np.float32]
Int = NDArray[np.int64]
Times = NDArray[np.datetime64]
NEVER = np.iinfo(np.int64).max
ALWAYS = np.iinfo(np.int64).min
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Revisions:
    """Changed values, ordered by the frame and the location they change and then by when the change became known."""

    time_index: Int
    location_index: Int
    known_at: Int
    """Microseconds since the epoch, UTC."""
    values: Float
    """(revision, channel)"""


@dataclass(frozen=True)
class Seal:
    """What was worked out when frames were written to disk, so that nobody has to read them all for it."""

    digest: str
    latest: Int


@dataclass(frozen=True)
class Frames:
    """Observations of all locations on one time axis without gaps, first known values and their revisions.

    The arrays may be memory-mapped files, read-only. The location axis is flat; for a grid it runs row by row, and
    `spatial` shows it as it lies.
    """

    times: Times
    """(time,) valid times, UTC microseconds, one `step` apart."""
    step: timedelta
    first: Float
    """(time, channel, location) values as first known, 0 where there is none."""
    mask: Bool
    """The same shape, True where there is a first known value."""
    known_at: Int
    """(time, location) when the first value became known, microseconds since the epoch; `NEVER` where there is none."""
    revisions: Revisions
    grid: tuple[int, int] | None = None
    """(rows, columns) of the location axis; None for stations."""
    seal: Seal | None = None

    def index(self, instant: datetime) -> int:
        """Return the position of a valid time on the axis; it may lie before or after the axis."""
        return int((as_numpy(instant) - self.times[0]) // np.timedelta64(self.step))

    @property
    def spatial(self) -> tuple[Float, Bool]:
        """First known values and their mask as (time, channel, y, x), or (time, channel, station); views."""
        shape = (*self.first.shape[:2], *(self.grid or self.first.shape[2:]))
        return self.first.reshape(shape, copy=False), self.mask.reshape(shape, copy=False)

    @cached_property
    def latest(self) -> Int:
        """(time,) when the last first value of each frame became known; `ALWAYS` for an empty frame.

        From then on a frame is its `first` and its revisions, whatever the instant: nothing need be hidden.
        """
        return self.seal.latest if self.seal else latest_of(self.known_at)

    @cached_property
    def settled(self) -> Int:
        """(time,) when the last first value of each frame and of all frames before it became known."""
        return np.maximum.accumulate(self.latest)

    def digest(self) -> str:
        """Return the SHA-256 of everything a reader of these frames can see."""
        if self.seal:
            return self.seal.digest
        parts = {name: described(array) for name, array in self.arrays().items()}
        return digest_of(self.times[0], self.step, parts)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that make the frames, by name."""
        changed = self.revisions
        return {
            "first": self.first,
            "mask": self.mask,
            "known_at": self.known_at,
            "revised_frame": changed.time_index,
            "revised_location": changed.location_index,
            "revised_known_at": changed.known_at,
            "revised_values": changed.values,
        }


def clear(values: Float) -> Bool:
    """Put 0 in the place of what is no finite number, and return where values are: the way that frames keep them."""
    known = np.isfinite(values)
    if not known.all():
        bits = values.view(np.int32)  # a multiplication would leave NaN, an assignment takes four times as long
        bits &= -known.view(np.int8).astype(np.int32)
    return known


def latest_of(known_at: Int) -> Int:
    """Return `Frames.latest` of (time, location) instants."""
    latest = np.empty(len(known_at), np.int64)
    rows = max(1, _BLOCK // max(known_at.shape[1], 1))
    for start in range(0, len(known_at), rows):
        block = known_at[start : start + rows]
        newest = block.max(axis=1, initial=ALWAYS)
        gappy = np.flatnonzero(newest == NEVER)
        newest[gappy] = np.max(block[gappy], axis=1, where=block[gappy] != NEVER, initial=ALWAYS)
        latest[start : start + rows] = newest
    return latest


def described(array: NDArray[Any]) -> dict[str, Any]:
    """Return type, shape and SHA-256 of an array's content."""
    digest = hashlib.sha256()
    rows = max(1, _BLOCK // max(array[:1].nbytes, 1))
    for start in range(0, len(array), rows):
        digest.update(np.ascontiguousarray(array[start : start + rows]).view(np.uint8).data)
    return {"dtype": array.dtype.str, "shape": list(array.shape), "sha256": digest.hexdigest()}


def digest_of(start: np.datetime64, step: timedelta, parts: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the digest of frames from the descriptions of their arrays."""
    axis = {"start": str(start.astype("datetime64[us]")), "step": step.total_seconds()}
    return hashlib.sha256(json.dumps({**axis, "arrays": parts}, sort_keys=True).encode()).hexdigest()
