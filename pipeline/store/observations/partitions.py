"""Groups of months that are read and merged together, small enough for memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.store.delta.versions import TableSnapshot
from pipeline.store.observations.keys import TIME, Keys
from pipeline.store.observations.statements import Statements
from pipeline.times import as_numpy

MAX_ROWS = 1 << 20


def count_by_month(snapshot: TableSnapshot) -> dict[str, int]:
    """Return the number of rows in each month of a table."""
    rows: dict[str, int] = {}
    for file in snapshot.scan.files:
        rows[str(file.partition)] = rows.get(str(file.partition), 0) + file.rows
    return rows


def group_months(rows: Mapping[str, int], since: datetime | None, until: datetime | None) -> Iterator[tuple[str, str]]:
    """Yield the first and last month of each group within [since, until], oldest first.

    Groups are as large as `MAX_ROWS` allows. A month is never split.
    """
    first = None if since is None else month_name(to_microseconds(since))
    last = None if until is None else month_name(to_microseconds(until))
    group: list[str] = []
    count = 0
    for month in sorted(rows):
        if (first is not None and month < first) or (last is not None and month > last):
            continue
        if group and count + rows[month] > MAX_ROWS:
            yield group[0], group[-1]
            group, count = [], 0
        group.append(month)
        count += rows[month]
    if group:
        yield group[0], group[-1]


def split_statements(given: Statements, keys: Keys, stored: Mapping[str, int]) -> Iterator[Statements]:
    """Yield statements, sorted by key, in groups of months, oldest first.

    A group and the `stored` rows of its months have at most `MAX_ROWS` rows together, unless it is a single month.
    """
    months = keys.times.astype("datetime64[us]").astype("datetime64[M]")
    names, first = np.unique(months, return_index=True)
    edges = [*np.searchsorted(given.key, first * len(keys.locations)).tolist(), len(given)]
    start = count = 0
    for name, (begin, end) in zip(names, pairwise(edges), strict=True):
        rows = end - begin + stored.get(str(name), 0)
        if begin > start and count + rows > MAX_ROWS:
            yield given.take(slice(start, begin))
            start, count = begin, 0
        count += rows
    yield given.take(slice(start, len(given)))


def in_months(first: str, last: str) -> pc.Expression:
    """Return the condition that a row belongs to the months from `first` to `last`."""
    return (pc.field("month") >= first) & (pc.field("month") <= last)


def month_name(microseconds: int) -> str:
    """Return the partition name of an instant, in microseconds since the epoch."""
    return str(np.datetime64(int(microseconds), "us").astype("datetime64[M]"))


def to_scalar(microseconds: int) -> pa.Scalar:
    """Return microseconds since the epoch as an Arrow timestamp."""
    return pa.scalar(int(microseconds), pa.int64()).cast(TIME)


def to_microseconds(instant: datetime) -> int:
    """Return an instant as microseconds since the epoch."""
    return int(as_numpy(instant).astype(np.int64))
