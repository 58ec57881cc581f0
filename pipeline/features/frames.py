"""Build frames from rows in any order; sorted rows are copied without searching."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.errors import NoDataError, StoreError
from pipeline.features.arrays import NEVER, Bool, Frames, Int, Revisions, zero_missing
from pipeline.steps import Step, count_steps, mean_length, shift
from pipeline.times import as_datetime

ALLOWED_EMPTY_CELLS = 50_000_000
"""A gap in time may always have this many empty cells."""
EMPTY_CELLS_PER_ROW = 200
"""A larger gap needs one row per this many empty cells on either side of it, or `_ENOUGH_ROWS`."""
_ENOUGH_ROWS = 100_000


def build_frames(
    rows: pa.Table,
    *,
    locations: tuple[str, ...],
    variables: tuple[str, ...],
    step: Step,
) -> Frames:
    """Return bitemporal rows (valid_time, location, known_at, variables) as frames.

    Valid times are whole steps apart. Rows of other locations are ignored; the order of rows does not matter.

    Raises:
        NoDataError: no row is of any of the locations.
        StoreError: a valid time is so far from the others that the frames would be almost entirely empty.
    """
    frames = frames_from_rows(rows, locations=locations, variables=variables, step=step)
    if frames is None:
        raise NoDataError("no observations of any location of the product; run `nightcast ingest` first")
    return frames


def frames_from_rows(
    rows: pa.Table,
    *,
    locations: tuple[str, ...],
    variables: tuple[str, ...],
    step: Step,
) -> Frames | None:
    """Return the frames that `build_frames` returns, or None if no row is of any of the locations.

    Raises:
        StoreError: as in `build_frames`.
    """
    location = _location_indices(rows["location"], locations)
    if len(location) and location.min() < 0:
        included = location >= 0
        rows, location = rows.filter(pa.array(included)), location[included]
    if rows.num_rows == 0:
        return None
    valid = rows["valid_time"].cast(pa.int64()).to_numpy()
    known = rows["known_at"].cast(pa.int64()).to_numpy()
    values = [rows[name].to_numpy() for name in variables]
    start, end = np.array([valid.min(), valid.max()]).astype("datetime64[us]")
    count = int(count_steps(start, np.asarray(end), step)) + 1
    _check_gaps(valid, mean_length(step) // timedelta(microseconds=1), len(locations))
    times, shape = shift(start, np.arange(count), step), (count, len(locations))
    axis = times.astype(np.int64)
    first = np.empty((count, len(variables), len(locations)), np.float32)
    if _is_complete(valid, location, axis, len(locations)):
        for channel, column in enumerate(values):
            first[:, channel] = column.reshape(shape)
        return Frames(times, step, first, zero_missing(first), known.reshape(shape), _no_revisions(len(variables)))

    cell = _cells(valid, location, start, step, len(locations))
    later = _revision_rows(cell, known, count * len(locations))
    initial: Bool | slice = slice(None)
    if len(later):
        initial = np.ones(len(cell), bool)
        initial[later] = False
    target = cell[initial]
    plane = np.empty(count * len(locations), np.float32)
    for channel, column in enumerate(values):
        plane.fill(np.nan)
        plane[target] = column[initial]
        first[:, channel] = plane.reshape(shape)
    known_at = np.full(count * len(locations), NEVER, np.int64)
    known_at[target] = known[initial]
    frame, revised_location = np.divmod(cell[later], len(locations))
    revised = np.stack([column[later] for column in values], axis=1, dtype=np.float32, casting="same_kind")
    revisions = Revisions(frame, revised_location, known[later], revised)
    return Frames(times, step, first, zero_missing(first), known_at.reshape(shape), revisions)


def check_gap(empty: int, before: tuple[np.datetime64, int], after: tuple[np.datetime64, int]) -> None:
    """Check that no few stray valid times make the time axis absurdly long.

    Args:
        empty: Number of cells between two groups of rows.
        before: Last valid time of the earlier group, and its number of rows.
        after: First valid time of the later group, and its number of rows.

    Raises:
        StoreError: one group has too few rows for such a gap; the error names its valid time.
    """
    needed = min(empty // EMPTY_CELLS_PER_ROW, _ENOUGH_ROWS)
    few, other = sorted((before, after), key=lambda group: group[1])
    if empty > ALLOWED_EMPTY_CELLS and few[1] < needed:
        stray, near = (f"{as_datetime(instant):%Y-%m-%d %H:%M} UTC" for instant, _ in (few, other))
        raise StoreError(
            f"the valid time {stray} is so far from the next, {near}, that frames would have {empty:,} empty cells; "
            "remove it from the source, then load the observations again with feed.history or --since"
        )


def _check_gaps(valid: Int, width: int, locations: int) -> None:
    if (int(valid.max()) - int(valid.min())) // width * locations <= ALLOWED_EMPTY_CELLS:
        return
    order, counts = np.unique(valid, return_counts=True)
    gaps, times = np.diff(order), order.astype("datetime64[us]")
    gap = int(gaps.argmax())
    before, after = int(counts[: gap + 1].sum()), int(counts[gap + 1 :].sum())
    check_gap((int(gaps[gap]) // width - 1) * locations, (times[gap], before), (times[gap + 1], after))


def _location_indices(column: pa.ChunkedArray, locations: tuple[str, ...]) -> NDArray[np.int32]:
    """Return the index of the location of each row, -1 for others."""
    wanted = pa.array(locations, pa.string())
    if not pa.types.is_dictionary(column.type):
        index = pc.index_in(column, value_set=wanted)
        found: NDArray[np.int32] = (index.fill_null(-1) if index.null_count else index).to_numpy()
        return found
    parts = []
    for chunk in column.chunks:  # look up each name once, not once per row
        names = pc.fill_null(pc.index_in(chunk.dictionary.cast(pa.string()), value_set=wanted), -1).to_numpy()
        codes = chunk.indices
        if codes.null_count:
            codes = codes.cast(pa.int32()).fill_null(len(names))
        parts.append(np.append(names, np.int32(-1))[codes.to_numpy()])
    return np.concatenate(parts) if parts else np.zeros(0, np.int32)


def _is_complete(valid: Int, location: NDArray[np.int32], axis: Int, locations: int) -> bool:
    """Return whether the rows contain each cell once, sorted by time and then by location."""
    if len(valid) != len(axis) * locations:
        return False
    in_order = (location.reshape(-1, locations) == np.arange(locations, dtype=np.int32)).all()
    return bool(in_order and (valid.reshape(-1, locations) == axis[:, None]).all())


def _cells(valid: Int, location: NDArray[np.int32], start: np.datetime64, step: Step, locations: int) -> Int:
    """Return the index of each row in (time, location), flattened."""
    begins = np.flatnonzero(np.concatenate(([True], valid[1:] != valid[:-1])))  # sorted rows: divide once per frame
    base = count_steps(start, valid[begins].astype("datetime64[us]"), step) * locations
    cell: Int = np.repeat(base, np.diff(begins, append=len(valid)))
    cell += location
    return cell


def _revision_rows(cell: Int, known: Int, cells: int) -> Int:
    """Return the rows that revise a cell, sorted by cell and known_at: all but the first known row of each cell."""
    if (cell[1:] > cell[:-1]).all():
        return np.zeros(0, np.int64)
    # Most cells have one row; only the others are sorted.
    repeated = np.flatnonzero(np.bincount(cell, minlength=cells)[cell] > 1)
    ordered = repeated[np.lexsort((known[repeated], cell[repeated]))]
    again = np.zeros(len(ordered), bool)
    again[1:] = cell[ordered[1:]] == cell[ordered[:-1]]
    return ordered[again]


def _no_revisions(channels: int) -> Revisions:
    empty = np.zeros(0, np.int64)
    return Revisions(empty, empty, empty, np.zeros((0, channels), np.float32))
