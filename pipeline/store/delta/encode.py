"""Encoding of rows as Parquet files, with their Delta log entries: SHA-256, size, partition and pruning statistics.

A wrong statistic would silently lose rows, so only exact bounds are kept: of timestamps, dates, integers and short
strings. Floats have none, because NaN cannot be ordered.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake.transaction import AddAction

from pipeline.errors import StoreError
from pipeline.store.delta.digests import data_file_name

ROW_GROUP = 1 << 17
"""Small enough that a read of a few days skips most of a month, large enough to cost nothing (measured)."""
CODEC = "snappy"
_MAX_TEXT = 64
_MICROSECONDS = (-62_135_596_800_000_000, 253_402_300_799_999_999)  # the years 1 to 9999
_DAYS = (-719_162, 2_932_896)


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """A Parquet file in memory, with its entry for the Delta log."""

    content: bytes
    action: AddAction

    @property
    def name(self) -> str:
        """Name in the folder of the table."""
        return str(self.action.path)


def encode(rows: pa.Table, partition: str | None, *, change: bool = True) -> Iterator[EncodedFile]:
    """Yield one file per partition; rows keep their order.

    Args:
        rows: Rows in the schema of the table.
        partition: Column with the partition names; it goes into the log and not into the file.
        change: Whether the rows are new; false if existing rows are only rewritten.

    Raises:
        StoreError: a row has no partition.
    """
    for value, part in _split(rows, partition):
        sink = pa.BufferOutputStream()
        stored = part.drop_columns(partition) if partition else part
        bounded = [field.name for field in stored.schema if has_bounds(field.type)]
        pq.write_table(stored, sink, compression=CODEC, row_group_size=ROW_GROUP, write_statistics=bounded)
        content = sink.getvalue().to_pybytes()
        yield EncodedFile(
            content,
            AddAction(
                path=data_file_name(content),
                size=len(content),
                partition_values={partition: value} if partition else {},
                modification_time=int(time.time() * 1000),
                data_change=change,
                stats=json.dumps(statistics(stored), separators=(",", ":")),
            ),
        )


def statistics(rows: pa.Table) -> dict[str, Any]:
    """Return a file's statistics for the Delta log: row count, and exact bounds and null counts by column."""
    minima: dict[str, Any] = {}
    maxima: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for field in rows.schema:
        if not has_bounds(field.type):
            continue
        column = rows[field.name]
        nulls[field.name] = column.null_count
        bounds = _bounds(column)
        if bounds is not None:
            minima[field.name], maxima[field.name] = bounds
    return {"numRecords": rows.num_rows, "minValues": minima, "maxValues": maxima, "nullCount": nulls}


def has_bounds(kind: pa.DataType) -> bool:
    """Return whether the log has bounds of columns of this type."""
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_date32(kind)
        or pa.types.is_string(kind)
        or kind == pa.timestamp("us", tz="UTC")
    )


def _bounds(column: pa.ChunkedArray) -> tuple[Any, Any] | None:
    """Return minimum and maximum as the log writes them, or None if it cannot write them exactly."""
    kind = column.type
    is_timestamp = pa.types.is_timestamp(kind)
    if is_timestamp or pa.types.is_date32(kind):
        column = column.cast(pa.int64() if is_timestamp else pa.int32())
    bounds = pc.min_max(column).as_py()
    low, high = bounds["min"], bounds["max"]
    if low is None:
        return None
    if pa.types.is_string(kind):
        return (low, high) if max(len(low), len(high)) <= _MAX_TEXT else None
    if pa.types.is_integer(kind):
        return low, high
    first, last = _MICROSECONDS if is_timestamp else _DAYS
    if low < first or high > last:
        return None
    if is_timestamp:
        return f"{np.datetime64(low, 'us')}Z", f"{np.datetime64(high, 'us')}Z"
    return f"{np.datetime64(low, 'D')}", f"{np.datetime64(high, 'D')}"


def _split(rows: pa.Table, partition: str | None) -> Iterator[tuple[str, pa.Table]]:
    if partition is None:
        if rows.num_rows:
            yield "", rows
        return
    encoded = rows[partition].combine_chunks().dictionary_encode()
    codes = np.asarray(encoded.indices.fill_null(-1))
    names = encoded.dictionary.to_pylist()
    if len(codes) and (codes.min() < 0 or "" in names):
        raise StoreError(f"column {partition!r}: a row has no partition")
    order = None if np.all(np.diff(codes) >= 0) else np.argsort(codes, kind="stable")
    edges = np.searchsorted(codes if order is None else codes[order], np.arange(len(names) + 1))
    for code, name in enumerate(names):
        start, end = int(edges[code]), int(edges[code + 1])
        yield name, rows.slice(start, end - start) if order is None else rows.take(pa.array(order[start:end]))
