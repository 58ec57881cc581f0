"""The rows of an answer as a typed table, in an order that does not depend on the database's mood."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

_INSTANT = pa.timestamp("us", tz="UTC")


def as_table(names: Sequence[str], batches: Iterable[Sequence[Sequence[Any]]], order: Sequence[str]) -> pa.Table:
    """Return an answer as a table, sorted by those columns of `order` that it has, else in the order given.

    Numbers, decimals, text, dates and times keep their types; instants are in UTC. A column of several kinds of values,
    or of a kind that is neither number, text nor time, is text.
    """
    columns: list[list[pa.Array]] = [[] for _ in names]
    for rows in batches:
        for place, values in enumerate(zip(*rows, strict=True)):
            columns[place].append(_typed(values))
    table = pa.table([_joined(parts) for parts in columns], names=list(names))
    keys = [(name, "ascending") for name in order if name in names]
    return table.sort_by(keys) if keys else table  # stable: of equal keys, the order of the answer stays


def _typed(values: Sequence[Any]) -> pa.Array:
    try:
        array = pa.array(values)
    except (pa.ArrowException, TypeError, OverflowError):  # values that have no type in common
        return _texts(values)
    kind = array.type
    if pa.types.is_timestamp(kind):
        return array.cast(_INSTANT if kind.tz else pa.timestamp("us"))
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
    """Return the parts of a column, which were typed each for itself, as one."""
    if not parts:
        return pa.chunked_array([], pa.null())
    try:
        tables = [pa.table([part], names=["column"]) for part in parts]
        return pa.concat_tables(tables, promote_options="permissive").column(0)
    except pa.ArrowException:
        return pa.chunked_array([_texts(part.to_pylist()) for part in parts])


def _texts(values: Iterable[Any]) -> pa.Array:
    return pa.array([None if value is None else str(value) for value in values], pa.string())
