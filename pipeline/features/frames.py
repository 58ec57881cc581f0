"""Rows in any order to frames, at the speed of the memory where they come sorted."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.errors import NoDataError, StoreError
from pipeline.features.arrays import NEVER, Bool, Float, Frames, Int, Revisions, Seal, Times, clear
from pipeline.times import as_datetime

__all__ = [
    "NEVER",
    "Bool",
    "Float",
    "Frames",
    "Int",
    "Revisions",
    "Seal",
    "Times",
    "arrange",
    "build_frames",
    "refuse_stray",
]

FEW_CELLS = 50_000_000
"""So many empty cells in a row are always allowed."""
MOST_EMPTY = 200
"""More only where either side of them has a row for each so many, or `_ENOUGH`: else some valid time is no one's."""
_ENOUGH = 100_000


def build_frames(
    rows: pa.Table,
    *,
    locations: tuple[str, ...],
    variables: tuple[str, ...],
    step: timedelta,
    grid: tuple[int, int] | None = None,
) -> Frames:
    """Arrange bitemporal rows (valid_time, location, known_at, variables) as frames.

    Every row lies on the grid of `step`; rows of other locations are left out. The order of the rows does not matter.

    Raises:
        NoDataError: there is no row of any of the locations.
        StoreError: a valid time lies so far from the others that the frames would be empty almost everywhere.
    """
    frames = arrange(rows, locations=locations, variables=variables, step=step, grid=grid)
    if frames is None:
        raise NoDataError("no observations of any location of the product; run `nightcast ingest` first")
    return frames


def arrange(
    rows: pa.Table,
    *,
    locations: tuple[str, ...],
    variables: tuple[str, ...],
    step: timedelta,
    grid: tuple[int, int] | None = None,
) -> Frames | None:
    """Return the frames of rows as `build_frames` does, or None where there is no row of any of the locations.

    Raises:
        StoreError: as in `build_frames`.
    """
    place = _places(rows["location"], locations)
    if len(place) and place.min() < 0:
        mine = place >= 0
        rows, place = rows.filter(pa.array(mine)), place[mine]
    if rows.num_rows == 0:
        return None
    valid = rows["valid_time"].cast(pa.int64()).to_numpy()
    known = rows["known_at"].cast(pa.int64()).to_numpy()
    values = [rows[name].to_numpy() for name in variables]
    width = step // timedelta(microseconds=1)
    start, count = int(valid.min()), (int(valid.max()) - int(valid.min())) // width + 1
    _check_axis(valid, width, len(locations))
    axis = start + width * np.arange(count)
    times, shape = axis.astype("datetime64[us]"), (count, len(locations))
    first = np.empty((count, len(variables), len(locations)), np.float32)
    if _complete(valid, place, axis, len(locations)):
        for channel, column in enumerate(values):
            first[:, channel] = column.reshape(shape)
        return Frames(times, step, first, clear(first), known.reshape(shape), _none(len(variables)), grid)

    cell = _cells(valid, place, start, width, len(locations))
    later = _later(cell, known, count * len(locations))
    once: Bool | slice = slice(None)
    if len(later):
        once = np.ones(len(cell), bool)
        once[later] = False
    target = cell[once]
    plane = np.empty(count * len(locations), np.float32)
    for channel, column in enumerate(values):
        plane.fill(np.nan)
        plane[target] = column[once]
        first[:, channel] = plane.reshape(shape)
    known_at = np.full(count * len(locations), NEVER, np.int64)
    known_at[target] = known[once]
    frame, location = np.divmod(cell[later], len(locations))
    changed = np.stack([column[later] for column in values], axis=1, dtype=np.float32, casting="same_kind")
    revisions = Revisions(frame, location, known[later], changed)
    return Frames(times, step, first, clear(first), known_at.reshape(shape), revisions, grid)


def refuse_stray(empty: int, before: tuple[np.datetime64, int], after: tuple[np.datetime64, int]) -> None:
    """Refuse a time axis that a few stray valid times make absurdly long.

    Args:
        empty: Cells between the valid times of two groups of rows.
        before: Last valid time of the earlier group, and how many rows it has.
        after: First valid time of the later group, and how many rows it has.

    Raises:
        StoreError: one group is too small for such a gap; the error names its valid time.
    """
    needed = min(empty // MOST_EMPTY, _ENOUGH)
    few, other = sorted((before, after), key=lambda group: group[1])
    if empty > FEW_CELLS and few[1] < needed:
        apart, near = (f"{as_datetime(instant):%Y-%m-%d %H:%M} UTC" for instant, _ in (few, other))
        raise StoreError(
            f"the valid time {apart} lies so far from the next, {near}, that frames would have {empty:,} empty cells; "
            "no source can mean it: take it out, and say feed.history or --since when loading anew"
        )


def _check_axis(valid: Int, width: int, places: int) -> None:
    if (int(valid.max()) - int(valid.min())) // width * places <= FEW_CELLS:
        return
    order, counts = np.unique(valid, return_counts=True)
    gaps, times = np.diff(order), order.astype("datetime64[us]")
    gap = int(gaps.argmax())
    before, after = int(counts[: gap + 1].sum()), int(counts[gap + 1 :].sum())
    refuse_stray((int(gaps[gap]) // width - 1) * places, (times[gap], before), (times[gap + 1], after))


def _places(column: pa.ChunkedArray, locations: tuple[str, ...]) -> NDArray[np.int32]:
    """Return the position of each location, -1 for others."""
    wanted = pa.array(locations, pa.string())
    if not pa.types.is_dictionary(column.type):
        place = pc.index_in(column, value_set=wanted)
        found: NDArray[np.int32] = (place.fill_null(-1) if place.null_count else place).to_numpy()
        return found
    parts = []
    for chunk in column.chunks:  # a name is looked up once, not once a row
        names = pc.fill_null(pc.index_in(chunk.dictionary.cast(pa.string()), value_set=wanted), -1).to_numpy()
        codes = chunk.indices
        if codes.null_count:
            codes = codes.cast(pa.int32()).fill_null(len(names))
        parts.append(np.append(names, np.int32(-1))[codes.to_numpy()])
    return np.concatenate(parts) if parts else np.zeros(0, np.int32)


def _complete(valid: Int, place: NDArray[np.int32], axis: Int, places: int) -> bool:
    """Whether the rows are every cell once, by time and then by location: nothing is to be moved."""
    if len(valid) != len(axis) * places:
        return False
    in_order = (place.reshape(-1, places) == np.arange(places, dtype=np.int32)).all()
    return bool(in_order and (valid.reshape(-1, places) == axis[:, None]).all())


def _cells(valid: Int, place: NDArray[np.int32], start: int, width: int, places: int) -> Int:
    """Return the position of each row in (time, location), flat."""
    begins = np.flatnonzero(np.concatenate(([True], valid[1:] != valid[:-1])))  # sorted rows: divide once a frame
    base = (valid[begins] - start) // width * places
    cell: Int = np.repeat(base, np.diff(begins, append=len(valid)))
    cell += place
    return cell


def _later(cell: Int, known: Int, cells: int) -> Int:
    """Return the rows that revise a cell, by cell and then by known_at: all but the first known of each cell."""
    ahead = cell[1:] > cell[:-1]
    if ahead.all():
        return np.zeros(0, np.int64)
    # Most cells have one row: only the others are sorted.
    repeated = np.flatnonzero(np.bincount(cell, minlength=cells)[cell] > 1)
    ordered = repeated[np.lexsort((known[repeated], cell[repeated]))]
    again = np.zeros(len(ordered), bool)
    again[1:] = cell[ordered[1:]] == cell[ordered[:-1]]
    return ordered[again]


def _none(channels: int) -> Revisions:
    none = np.zeros(0, np.int64)
    return Revisions(none, none, none, np.zeros((0, channels), np.float32))
