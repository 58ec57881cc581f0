"""Rows to Parquet files and to what the Delta log says of them: digest, size, partition, and statistics to prune by.

A wrong statistic would lose rows without a word, so there are few: exact bounds of instants, dates, integers and short
texts. Floats have none, for NaN has no place in an order.
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
from pipeline.store.delta.digests import name_for

ROW_GROUP = 1 << 17
"""Small enough that a read of some days skips most of a month, large enough that it costs nothing (measured)."""
CODEC = "snappy"
_LONGEST = 64
_MICROSECONDS = (-62_135_596_800_000_000, 253_402_300_799_999_999)  # the years 1 to 9999
_DAYS = (-719_162, 2_932_896)


@dataclass(frozen=True, slots=True)
class DataFile:
    """One Parquet file that is yet to be written."""

    content: bytes
    action: AddAction

    @property
    def name(self) -> str:
        """Name in the table's folder."""
        return str(self.action.path)


def encode(rows: pa.Table, partition: str | None, *, change: bool = True) -> Iterator[DataFile]:
    """Yield one file a partition, with the rows in the order given.

    Args:
        rows: In the schema of the table.
        partition: The column that names the partition; it goes into the log and not into the file.
        change: Whether the rows are new; false when they are only kept in another way.

    Raises:
        StoreError: a partition has no name.
    """
    for value, part in _split(rows, partition):
        sink = pa.BufferOutputStream()
        kept = part.drop_columns(partition) if partition else part
        bounded = [field.name for field in kept.schema if has_bounds(field.type)]  # NaN: as for the log
        pq.write_table(kept, sink, compression=CODEC, row_group_size=ROW_GROUP, write_statistics=bounded)
        content = sink.getvalue().to_pybytes()
        yield DataFile(
            content,
            AddAction(
                path=name_for(content),
                size=len(content),
                partition_values={partition: value} if partition else {},
                modification_time=int(time.time() * 1000),
                data_change=change,
                stats=json.dumps(statistics(kept), separators=(",", ":")),
            ),
        )


def statistics(rows: pa.Table) -> dict[str, Any]:
    """Return what the Delta log keeps of a file: number of rows; bounds and number of nulls where bounds are exact."""
    least: dict[str, Any] = {}
    most: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for field in rows.schema:
        if not has_bounds(field.type):
            continue
        column = rows[field.name]
        nulls[field.name] = column.null_count
        bounds = _bounds(column)
        if bounds is not None:
            least[field.name], most[field.name] = bounds
    return {"numRecords": rows.num_rows, "minValues": least, "maxValues": most, "nullCount": nulls}


def has_bounds(kind: pa.DataType) -> bool:
    """Whether the log keeps bounds of columns of this type."""
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_date32(kind)
        or pa.types.is_string(kind)
        or kind == pa.timestamp("us", tz="UTC")
    )


def _bounds(column: pa.ChunkedArray) -> tuple[Any, Any] | None:
    """Return the bounds as the log writes them, or None when it cannot write them exactly."""
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date32(kind):
        instants = pa.types.is_timestamp(kind)
        column = column.cast(pa.int64() if instants else pa.int32())
    found = pc.min_max(column).as_py()
    least, most = found["min"], found["max"]
    if least is None:
        return None
    if pa.types.is_string(kind):
        return (least, most) if max(len(least), len(most)) <= _LONGEST else None
    if pa.types.is_integer(kind):
        return least, most
    within = _MICROSECONDS if instants else _DAYS
    if least < within[0] or most > within[1]:
        return None
    if instants:
        return f"{np.datetime64(least, 'us')}Z", f"{np.datetime64(most, 'us')}Z"
    return f"{np.datetime64(least, 'D')}", f"{np.datetime64(most, 'D')}"


def _split(rows: pa.Table, partition: str | None) -> Iterator[tuple[str, pa.Table]]:
    if partition is None:
        if rows.num_rows:
            yield "", rows
        return
    names = rows[partition].combine_chunks().dictionary_encode()
    codes = np.asarray(names.indices.fill_null(-1))
    words = names.dictionary.to_pylist()
    if len(codes) and (codes.min() < 0 or "" in words):
        raise StoreError(f"column {partition!r}: a row names no partition")
    order = None if np.all(np.diff(codes) >= 0) else np.argsort(codes, kind="stable")
    edges = np.searchsorted(codes if order is None else codes[order], np.arange(len(words) + 1))
    for code, word in enumerate(words):
        start, end = int(edges[code]), int(edges[code + 1])
        yield word, rows.slice(start, end - start) if order is None else rows.take(pa.array(order[start:end]))
