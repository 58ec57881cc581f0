"""The continuous record behind overlapping windows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.statistics.transforms import forward
from models.task import Batch, Task, Windows

CHUNK = 256

Part = tuple[int, NDArray[np.float32], NDArray[np.bool_]]
"""Index of the first frame, values and mask of consecutive frames."""


@dataclass(frozen=True, slots=True)
class Series:
    """A record of consecutive frames of transformed values.

    Attributes:
        time: (frame,), one step apart.
        values: (frame, channel, location), transformed, 0 where missing.
        mask: same shape, True where known.
    """

    time: NDArray[np.datetime64]
    values: NDArray[np.float32]
    mask: NDArray[np.bool_]

    @property
    def days(self) -> float:
        """Length of the record in days."""
        return float((self.time[-1] - self.time[0]) / np.timedelta64(1, "D"))


def batches(windows: Windows, size: int = CHUNK, most: int | None = None) -> Iterator[Batch]:
    """Yield all samples in order, or `most` of them, evenly spread."""
    index = np.arange(len(windows), dtype=np.intp)
    if most is not None and most < len(index):
        index = np.linspace(0, len(index) - 1, most).astype(np.intp)
    for start in range(0, len(index), size):
        yield windows.batch(index[start : start + size])


def collect(windows: Windows) -> Series:
    """Return every frame once, with each value that is known in any window, as input or as target.

    Where all channels are targets, only a set of windows that covers the record is read: targets are read later than
    inputs, so every known input is a known target too.
    """
    task = windows.task
    parts = _covering(windows) if set(task.channels) == set(task.targets) else list(_all(windows))
    first = min(start for start, _, _ in parts)
    last = max(start + len(values) for start, values, _ in parts)
    values = np.zeros((last - first, *parts[0][1].shape[1:]), np.float32)
    mask = np.zeros(values.shape, bool)
    for start, chunk, known in parts:
        rows = slice(start - first, start - first + len(chunk))
        values[rows] = np.where(known, chunk, values[rows])
        mask[rows] |= known
    time = task.frame_times(first + np.arange(len(values)))
    frame = windows.batch(np.zeros(1, np.intp)).inputs.time[:1, 0].astype("datetime64[s]")
    offset = frame - task.frame_times(task.frame_numbers(frame))
    return Series(time + offset, values, mask)


def transformed(
    task: Task, values: NDArray[np.float32], mask: NDArray[np.bool_], channels: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return transformed values (n, time, channel, location), 0 where missing, and their mask.

    Values that are not finite count as missing.
    """
    known = mask & np.isfinite(values)
    out = np.empty(values.shape, np.float32)
    clean = np.where(known, values, np.float32(0.0))
    for position, channel in enumerate(channels):
        out[:, :, position] = forward(task.transforms[channel], clean[:, :, position])
    return np.where(known, out, np.float32(0.0)), known


def _all(windows: Windows) -> Iterator[Part]:
    for batch in batches(windows):
        yield _unroll(windows.task, batch)


def _covering(windows: Windows) -> list[Part]:
    """Return windows whose targets cover those of all windows, after those whose inputs reach further back.

    Joined in this order, targets replace inputs.
    """
    task, last = windows.task, len(windows) - 1
    index = np.unique(np.append(np.arange(0, last, task.leads), last))
    parts, found = [], []
    for start in range(0, len(index), CHUNK):
        batch = windows.batch(index[start : start + CHUNK])
        found.append(task.frame_numbers(batch.inputs.target_time[:, 0]))
        parts.append(_unroll(task, batch))
    # Windows are sorted by issue time: where the targets of two are contiguous, windows between add none. Frames
    # before the first target or in a gap between targets appear only in inputs, of any window that reaches them.
    lead = np.concatenate(found)
    more = []
    for gap in (-1, *np.flatnonzero(np.diff(lead) > task.leads)):
        beyond = np.searchsorted(lead, lead[gap + 1] + task.context)
        more.append(np.arange(index[max(gap, 0)], index[min(beyond, len(index) - 1)]))
    rest = np.setdiff1d(np.concatenate(more), index)
    before = [_unroll(task, windows.batch(rest[start : start + CHUNK])) for start in range(0, len(rest), CHUNK)]
    return before + parts[::-1]


def _unroll(task: Task, batch: Batch) -> Part:
    inputs = batch.inputs
    context, future = task.frame_numbers(inputs.time), task.frame_numbers(inputs.target_time)
    start = int(min(context.min(), future.min()))
    length = int(max(context.max(), future.max())) - start + 1
    every = tuple(range(len(task.channels)))
    x, x_known = transformed(task, inputs.values, inputs.mask, every)
    y, y_known = transformed(task, batch.target, batch.target_mask, task.target_channels)
    values = np.zeros((length, len(every), len(task.locations)), np.float32)
    mask = np.zeros(values.shape, bool)
    for frame in range(task.context):
        rows = context[:, frame] - start
        values[rows] = np.where(x_known[:, frame], x[:, frame], values[rows])
        mask[rows] |= x_known[:, frame]
    targets = np.asarray(task.target_channels)
    for lead in range(task.leads):
        rows = (future[:, lead] - start)[:, None]
        values[rows, targets] = np.where(y_known[:, lead], y[:, lead], values[rows, targets])
        mask[rows, targets] |= y_known[:, lead]
    return start, values, mask
