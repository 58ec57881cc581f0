"""Observations as arrays on a regular time axis, with what is needed to read them as known at any instant."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.steps import Step, count_steps, identify
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
    """Revised values, sorted by frame, location and the instant at which the revision became known."""

    time_index: Int
    location_index: Int
    known_at: Int
    """Microseconds since the epoch, UTC."""
    values: Float
    """(revision, channel)"""


@dataclass(frozen=True)
class FrameSummary:
    """Facts computed while frames are written to disk, so that a reader need not read all of them."""

    digest: str
    complete_at: Int


@dataclass(frozen=True)
class Frames:
    """Observations of all locations on one regular time axis: first known values, and their revisions.

    The arrays may be read-only memory maps. The location axis is flat; the cells of a grid follow row by row.
    """

    times: Times
    """(time,) valid times, UTC microseconds, one `step` apart."""
    step: Step
    first: Float
    """(time, channel, location) first known values, 0 where there is none."""
    mask: Bool
    """Same shape, True where there is a first known value."""
    known_at: Int
    """(time, location) instants at which the first values became known, microseconds since the epoch, or `NEVER`."""
    revisions: Revisions
    summary: FrameSummary | None = None

    def index(self, instant: datetime) -> int:
        """Return the index of a valid time; it may be before or after the axis."""
        return int(count_steps(self.times[0], np.asarray(as_numpy(instant)), self.step))

    @cached_property
    def complete_at(self) -> Int:
        """(time,) instants at which all first values of a frame were known; `ALWAYS` for an empty frame.

        From then on, no first value of the frame has to be masked.
        """
        return self.summary.complete_at if self.summary else completion_times(self.known_at)

    @cached_property
    def complete_through(self) -> Int:
        """(time,) instants at which a frame and all frames before it were complete."""
        return np.maximum.accumulate(self.complete_at)

    def digest(self) -> str:
        """Return the SHA-256 of the content of the frames."""
        if self.summary:
            return self.summary.digest
        parts = {name: describe_array(array) for name, array in self.arrays().items()}
        return frames_digest(self.times[0], self.step, parts)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of the frames by name. The names are part of the digest."""
        revisions = self.revisions
        return {
            "first": self.first,
            "mask": self.mask,
            "known_at": self.known_at,
            "revised_frame": revisions.time_index,
            "revised_location": revisions.location_index,
            "revised_known_at": revisions.known_at,
            "revised_values": revisions.values,
        }


def zero_missing(values: Float) -> Bool:
    """Set values that are not finite to 0, in place, and return the mask of those that are."""
    known = np.isfinite(values)
    if not known.all():
        bits = values.view(np.int32)  # multiplying would keep NaN, and assigning takes four times as long
        bits &= -known.view(np.int8).astype(np.int32)
    return known


def completion_times(known_at: Int) -> Int:
    """Return `Frames.complete_at` from `Frames.known_at`."""
    complete_at = np.empty(len(known_at), np.int64)
    rows = max(1, _BLOCK // max(known_at.shape[1], 1))
    for start in range(0, len(known_at), rows):
        block = known_at[start : start + rows]
        newest = block.max(axis=1, initial=ALWAYS)
        partial = np.flatnonzero(newest == NEVER)
        newest[partial] = np.max(block[partial], axis=1, where=block[partial] != NEVER, initial=ALWAYS)
        complete_at[start : start + rows] = newest
    return complete_at


def describe_array(array: NDArray[Any]) -> dict[str, Any]:
    """Return the type, the shape and the SHA-256 of an array."""
    digest = hashlib.sha256()
    rows = max(1, _BLOCK // max(array[:1].nbytes, 1))
    for start in range(0, len(array), rows):
        digest.update(np.ascontiguousarray(array[start : start + rows]).view(np.uint8).data)
    return {"dtype": array.dtype.str, "shape": list(array.shape), "sha256": digest.hexdigest()}


def frames_digest(start: np.datetime64, step: Step, parts: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the digest of frames, given the descriptions of their arrays."""
    axis = {"start": str(start.astype("datetime64[us]")), "step": identify(step)}
    return hashlib.sha256(json.dumps({**axis, "arrays": parts}, sort_keys=True).encode()).hexdigest()
