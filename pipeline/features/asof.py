"""The as-of join: values as they were known at an instant. Training, backtest, replay and live all read through it."""

from __future__ import annotations

from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from pipeline.features.frames import Float, Frames
from pipeline.times import as_numpy

Int = NDArray[np.int64]


def as_of(frames: Frames, known_by: datetime) -> Float:
    """Return all frames as known at one instant: (time, channel, location), NaN where nothing was known."""
    limit = as_numpy(known_by).astype(np.int64)
    values = np.where((frames.known_at <= limit)[:, None, :], frames.first, np.float32(np.nan))
    changed = frames.revisions
    # Revisions of one frame are ordered by known_at, so the last one that was known stays.
    for n in np.flatnonzero(changed.known_at <= limit):
        values[changed.time_index[n], :, changed.location_index[n]] = changed.values[n]
    return values


def windows_as_of(frames: Frames, last: Int, known_by: Int, length: int) -> Float:
    """Return runs of frames, each as known at its own instant.

    Args:
        frames: The frames.
        last: (window,) position of the newest frame of each run; a run may reach beyond either end of the axis.
        known_by: (window,) instants, microseconds since the epoch.
        length: Frames in a run.

    Returns:
        (window, time, channel, location), NaN where nothing was known at the window's instant.
    """
    index = last[:, None] + np.arange(1 - length, 1)
    inside = (index >= 0) & (index < len(frames.times))
    safe = np.where(inside, index, 0)
    visible = inside[..., None] & (frames.known_at[safe] <= known_by[:, None, None])
    values = np.where(visible[:, :, None, :], frames.first[safe], np.float32(np.nan))
    changed = frames.revisions
    begin = np.searchsorted(changed.time_index, index[:, 0], side="left")
    end = np.searchsorted(changed.time_index, index[:, -1], side="right")
    for window in np.flatnonzero(end > begin):
        run = slice(begin[window], end[window])
        known = changed.known_at[run] <= known_by[window]
        at = changed.time_index[run][known] - index[window, 0]
        for frame, place, value in zip(at, changed.location_index[run][known], changed.values[run][known], strict=True):
            values[window, frame, :, place] = value
    return values
