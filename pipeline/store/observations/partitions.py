"""Spans of time that are read and judged together: whole months, few enough for memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.store.delta.versions import View
from pipeline.store.observations.keys import TIME, Keys
from pipeline.store.observations.revisions import Statements
from pipeline.times import as_numpy

ROWS_AT_ONCE = 1 << 20


def sizes(view: View) -> dict[str, int]:
    """Return how many rows each month of a table holds."""
    rows: dict[str, int] = {}
    for file in view.scan.files:
        rows[str(file.partition)] = rows.get(str(file.partition), 0) + file.rows
    return rows


def runs(rows: Mapping[str, int], since: datetime | None, until: datetime | None) -> Iterator[tuple[str, str]]:
    """Yield the first and the last of months in [since, until] that together hold few enough rows, oldest first."""
    first = None if since is None else month_at(micros(since))
    last = None if until is None else month_at(micros(until))
    run: list[str] = []
    count = 0
    for month in sorted(rows):
        if (first is not None and month < first) or (last is not None and month > last):
            continue
        if run and count + rows[month] > ROWS_AT_ONCE:
            yield run[0], run[-1]
            run, count = [], 0
        run.append(month)
        count += rows[month]
    if run:
        yield run[0], run[-1]


def parts(given: Statements, keys: Keys, stored: Mapping[str, int]) -> Iterator[Statements]:
    """Yield rows by key, of months that with what is stored of them have few enough rows, oldest first."""
    months = keys.times.astype("datetime64[us]").astype("datetime64[M]")
    names, first = np.unique(months, return_index=True)
    edges = [*np.searchsorted(given.key, first * len(keys.places)).tolist(), len(given)]
    start = count = 0
    for name, (begin, end) in zip(names, pairwise(edges), strict=True):
        rows = end - begin + stored.get(str(name), 0)
        if begin > start and count + rows > ROWS_AT_ONCE:
            yield given.pick(slice(start, begin))
            start, count = begin, 0
        count += rows
    yield given.pick(slice(start, len(given)))


def within(first: str, last: str) -> pc.Expression:
    """Return the condition that a row is of the months from `first` to `last`."""
    return (pc.field("month") >= first) & (pc.field("month") <= last)


def month_at(instant: int) -> str:
    """Return the month of an instant, microseconds since the epoch, as partitions are named."""
    return str(np.datetime64(int(instant), "us").astype("datetime64[M]"))


def instant(microseconds: int) -> pa.Scalar:
    """Return microseconds since the epoch as a value of Arrow."""
    return pa.scalar(int(microseconds), pa.int64()).cast(TIME)


def micros(instant: datetime) -> int:
    """Return microseconds since the epoch."""
    return int(as_numpy(instant).astype(np.int64))
