"""The as-of join: values as they were known at an instant. Training, backtest, replay and live all read through it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.features.arrays import Bool, Float, Frames, Int, clear
from pipeline.times import as_numpy

Number = TypeVar("Number", bound=np.generic)
_BLOCK = 1 << 22
_NAN = np.float32(np.nan)


def as_of(frames: Frames, known_by: datetime, *, begin: int = 0, end: int | None = None) -> Float:
    """Return frames as known at one instant: (time, channel, location), NaN where nothing was known.

    Args:
        frames: The frames.
        known_by: The instant.
        begin: Position of the first frame wanted.
        end: Position after the last frame wanted; by default all are.
    """
    values, mask = _at_once(frames, known_by, begin, len(frames.times) if end is None else end)
    return np.where(mask, values, _NAN)


def anything_known(frames: Frames, known_by: datetime) -> Bool:
    """Return (time,) whether any value of a frame was known at an instant; memory does not grow with the history."""
    known = np.zeros(len(frames.times), bool)
    rows = max(1, _BLOCK // max(frames.first[:1].size, 1))
    for begin in range(0, len(known), rows):
        end = min(begin + rows, len(known))
        known[begin:end] = _at_once(frames, known_by, begin, end)[1].any(axis=(1, 2))
    return known


def windows_as_of(
    frames: Frames, last: Int, known_by: Int, length: int, *, channels: Sequence[int] | None = None
) -> tuple[Float, Bool]:
    """Return runs of frames, each as known at its own instant. Only the frames of the runs are read.

    Args:
        frames: The frames.
        last: (window,) position of the newest frame of each run; a run may reach beyond either end of the axis.
        known_by: (window,) instants, microseconds since the epoch.
        length: Frames in a run.
        channels: Positions of the channels wanted; by default all are.

    Returns:
        Values (window, time, channel, location), 0 where nothing was known at the window's instant, and the mask, True
        where something was.
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
        values, mask = _runs(frames.first, start, length), _runs(frames.mask, start, length)
    every = tuple(range(frames.first.shape[1]))
    wanted = every if channels is None else tuple(channels)
    if wanted != every:
        values, mask = values[:, :, wanted], mask[:, :, wanted]
    # Nearly all windows have arrived entirely long before their instant; of the others, what came later is hidden.
    unsettled = np.flatnonzero(frames.settled[newest] > known_by)
    if len(unsettled):
        _hide(values, mask, frames, start, known_by, unsettled)
    if len(frames.revisions.time_index):
        _revise(values, mask, frames, start, known_by, wanted)
    return values, mask


def _at_once(frames: Frames, known_by: datetime, begin: int, end: int) -> tuple[Float, Bool]:
    limit = as_numpy(known_by).astype(np.int64)
    values, mask = windows_as_of(frames, np.array([end - 1]), np.array([limit]), end - begin)
    return values[0], mask[0]


def _runs(array: NDArray[Number], start: Int, length: int) -> NDArray[Number]:
    """Return (run, length, ...) of an array along its first axis, each run copied in one piece."""
    array = np.ascontiguousarray(array)
    size = array[:1].size
    view: NDArray[Number] = np.ndarray(
        (max(len(array) - length + 1, 0), length * size),
        array.dtype,
        array.data if array.size else b"",
        strides=(size * array.itemsize, array.itemsize),
    )
    return view[start].reshape(len(start), length, *array.shape[1:])


def _hide(values: Float, mask: Bool, frames: Frames, start: Int, known_by: Int, windows: Int) -> None:
    """Take out of some windows what became known after their instant."""
    index = start[windows, None] + np.arange(values.shape[1])
    inside = (index >= 0) & (index < len(frames.times))
    which, frame = np.nonzero(inside & (frames.latest[np.where(inside, index, 0)] > known_by[windows, None]))
    if not len(which):
        return
    window = windows[which]
    seen = mask[window, frame] & (frames.known_at[index[which, frame]] <= known_by[window, None])[:, None]
    mask[window, frame] = seen
    values[window, frame] = np.where(seen, values[window, frame], np.float32(0))


def _revise(values: Float, mask: Bool, frames: Frames, start: Int, known_by: Int, wanted: tuple[int, ...]) -> None:
    """Put the last revision known at the instant of its window in the place of what it revises."""
    changed, (length, places) = frames.revisions, (values.shape[1], values.shape[-1])
    begin = np.searchsorted(changed.time_index, start, side="left")
    count = np.searchsorted(changed.time_index, start + length, side="left") - begin
    if not count.any():
        return
    window = np.repeat(np.arange(len(start)), count)
    row = np.arange(len(window)) + np.repeat(begin - np.cumsum(count) + count, count)
    known = changed.known_at[row] <= known_by[window]
    window, row = window[known], row[known]
    frame = changed.time_index[row] - start[window]
    cell = (window * length + frame) * places + changed.location_index[row]
    # The revisions of a cell stand together, by known_at: the last one counts.
    last = np.ones(len(cell), bool)
    last[:-1] = cell[1:] != cell[:-1]
    window, frame, row = window[last], frame[last], row[last]
    location, news = changed.location_index[row], changed.values[row][:, wanted]
    mask[window, frame, :, location] = clear(news)
    values[window, frame, :, location] = news
