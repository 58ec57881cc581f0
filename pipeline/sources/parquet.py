"""Answers of sources that have no bytes of their own, as Parquet: equal tables have equal bytes."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.buffers import owned
from pipeline.errors import NoDataError, SourceError
from pipeline.sources.base import Payload


def to_parquet(table: pa.Table) -> bytes:
    """Return a table as Parquet, with checksums; uncompressed, since the raw store compresses."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="none", write_page_checksum=True)
    return bytes(sink.getvalue())


def from_parquet(payload: Payload) -> pa.Table:
    """Return the table of a payload made by `to_parquet`.

    Raises:
        NoDataError: the payload has no bytes.
        SourceError: it is torn or altered.
    """
    if not payload.content:
        raise NoDataError(f"{payload.name}: the payload is empty")
    try:
        table = pq.read_table(pa.BufferReader(owned(payload.content)), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(f"{payload.name}: not readable as parquet, {line}") from error
    return table.combine_chunks()
