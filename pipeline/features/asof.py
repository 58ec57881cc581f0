"""The as-of join: values as known at an instant. Training, backtests, replays and live forecasts all use it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.features.arrays import Bool, Float, Frames, Int, zero_missing
from pipeline.times import as_numpy

Number = TypeVar("Number", bound=np.generic)
_BLOCK = 1 << 22
_NAN = np.float32(np.nan)


def as_of(frames: Frames, known_by: datetime, *, begin: int = 0, end: int | None = None) -> Float:
    """Return frames as known at an instant: (time, channel, location), NaN where unknown.

    Args:
        frames: The frames.
        known_by: The instant.
        begin: Index of the first frame.
        end: Index after the last frame; by default the length of the axis.
    """
    values, mask = _one_window(frames, known_by, begin, len(frames.times) if end is None else end)
    return np.where(mask, values, _NAN)


def any_known(frames: Frames, known_by: datetime) -> Bool:
    """Return (time,) whether any value of each frame was known at an instant.

    Memory does not grow with the history.
    """
    known = np.zeros(len(frames.times), bool)
    rows = max(1, _BLOCK // max(frames.first[:1].size, 1))
    for begin in range(0, len(known), rows):
        end = min(begin + rows, len(known))
        known[begin:end] = _one_window(frames, known_by, begin, end)[1].any(axis=(1, 2))
    return known


def windows_as_of(
    frames: Frames, last: Int, known_by: Int, length: int, *, channels: Sequence[int] | None = None
) -> tuple[Float, Bool]:
    """Return windows of consecutive frames, each as known at its own instant. Only these frames are read.

    Args:
        frames: The frames.
        last: (window,) index of the newest frame of each window; a window may extend beyond the axis.
        known_by: (window,) instants, microseconds since the epoch.
        length: Frames in a window.
        channels: Indices of the channels to return; by default all.

    Returns:
        Values (window, time, channel, location), 0 where unknown at the instant of the window, and their mask.
    """
    start, count = last - (length - 1), len(frames.times)
    newest = last
    if len(last) and (start.min() < 0 or last.max() >= count):
        index = start[:, None] + np.arange(length)
        beyond = (index < 0) | (index >= count)
        index[beyond] = 0
        values, mask = frames.first.take(index, axis=0), frames.mask.take(index, axis=0)
        values[beyond], mask[beyond] = 0, False
        newest = np.clip(last, 0, count - 1)
    else:
        values, mask = _slices(frames.first, start, length), _slices(frames.mask, start, length)
    every = tuple(range(frames.first.shape[1]))
    wanted = every if channels is None else tuple(channels)
    if wanted != every:
        values, mask = values[:, :, wanted], mask[:, :, wanted]
    # Nearly all windows were complete long before their instant; in the others, later values are masked.
    incomplete = np.flatnonzero(frames.complete_through[newest] > known_by)
    if len(incomplete):
        _mask_later_values(values, mask, frames, start, known_by, incomplete)
    if len(frames.revisions.time_index):
        _apply_revisions(values, mask, frames, start, known_by, wanted)
    return values, mask


def _one_window(frames: Frames, known_by: datetime, begin: int, end: int) -> tuple[Float, Bool]:
    limit = as_numpy(known_by).astype(np.int64)
    values, mask = windows_as_of(frames, np.array([end - 1]), np.array([limit]), end - begin)
    return values[0], mask[0]


def _slices(array: NDArray[Number], start: Int, length: int) -> NDArray[Number]:
    """Return slices (slice, length, ...) of an array along its first axis, each copied as one block."""
    array = np.ascontiguousarray(array)
    size = array[:1].size
    view: NDArray[Number] = np.ndarray(
        (max(len(array) - length + 1, 0), length * size),
        array.dtype,
        array.data if array.size else b"",
        strides=(size * array.itemsize, array.itemsize),
    )
    return view[start].reshape(len(start), length, *array.shape[1:])


def _mask_later_values(values: Float, mask: Bool, frames: Frames, start: Int, known_by: Int, windows: Int) -> None:
    """Mask the values in some windows that became known after the instant of the window."""
    index = start[windows, None] + np.arange(values.shape[1])
    inside = (index >= 0) & (index < len(frames.times))
    which, frame = np.nonzero(inside & (frames.complete_at[np.where(inside, index, 0)] > known_by[windows, None]))
    if not len(which):
        return
    window = windows[which]
    seen = mask[window, frame] & (frames.known_at[index[which, frame]] <= known_by[window, None])[:, None]
    mask[window, frame] = seen
    values[window, frame] = np.where(seen, values[window, frame], np.float32(0))


def _apply_revisions(
    values: Float, mask: Bool, frames: Frames, start: Int, known_by: Int, wanted: tuple[int, ...]
) -> None:
    """Replace values by their newest revision known at the instant of the window."""
    revisions, (length, locations) = frames.revisions, (values.shape[1], values.shape[-1])
    begin = np.searchsorted(revisions.time_index, start, side="left")
    count = np.searchsorted(revisions.time_index, start + length, side="left") - begin
    if not count.any():
        return
    window = np.repeat(np.arange(len(start)), count)
    row = np.arange(len(window)) + np.repeat(begin - np.cumsum(count) + count, count)
    known = revisions.known_at[row] <= known_by[window]
    window, row = window[known], row[known]
    frame = revisions.time_index[row] - start[window]
    cell = (window * length + frame) * locations + revisions.location_index[row]
    # The revisions of a cell are adjacent and sorted by known_at: the last one counts.
    last = np.ones(len(cell), bool)
    last[:-1] = cell[1:] != cell[:-1]
    window, frame, row = window[last], frame[last], row[last]
    location, revised = revisions.location_index[row], revisions.values[row][:, wanted]
    mask[window, frame, :, location] = zero_missing(revised)
    values[window, frame, :, location] = revised
