"""Query results as typed tables, in a reproducible order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from pipeline.store.observations import TIME


def as_table(names: Sequence[str], batches: Iterable[Sequence[Sequence[Any]]], order: Sequence[str]) -> pa.Table:
    """Return a result as a table, sorted by the columns of `order` that it has, else in the given order.

    Numbers, decimals, text, dates and times keep their types; time stamps with an offset are in UTC. Columns of mixed
    or other types become text.
    """
    columns: list[list[pa.Array]] = [[] for _ in names]
    for rows in batches:
        for position, values in enumerate(zip(*rows, strict=True)):
            columns[position].append(_typed(values))
    table = pa.table([_joined(parts) for parts in columns], names=list(names))
    keys = [(name, "ascending") for name in order if name in names]
    return table.sort_by(keys) if keys else table  # stable: rows with equal keys keep their order


def _typed(values: Sequence[Any]) -> pa.Array:
    try:
        array = pa.array(values)
    except (pa.ArrowException, TypeError, OverflowError):  # the values have no common type
        return _texts(values)
    kind = array.type
    if pa.types.is_timestamp(kind):
        return array.cast(TIME if kind.tz else pa.timestamp("us"))
    if pa.types.is_time(kind):
        return array.cast(pa.string())
    kept = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_decimal,
        pa.types.is_string,
        pa.types.is_date,
        pa.types.is_null,
    )
    return array if any(is_kind(kind) for is_kind in kept) else _texts(values)


def _joined(parts: list[pa.Array]) -> pa.ChunkedArray:
    """Return the parts of a column, typed independently, as one column."""
    if not parts:
        return pa.chunked_array([], pa.null())
    try:
        tables = [pa.table([part], names=["column"]) for part in parts]
        return pa.concat_tables(tables, promote_options="permissive").column(0)
    except pa.ArrowException:
        return pa.chunked_array([_texts(part.to_pylist()) for part in parts])


def _texts(values: Iterable[Any]) -> pa.Array:
    return pa.array([None if value is None else str(value) for value in values], pa.string())
