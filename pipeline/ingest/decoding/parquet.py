"""Parquet: payloads of sources that deliver tables, and files read in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.buffers import copy_to_arrow
from pipeline.errors import NoDataError, SourceError, first_line
from pipeline.ingest.sources.base import Payload

_ROWS = 65_536  # rows decoded at a time
_DELTA = "DELTA_BYTE_ARRAY"  # each text may repeat all of the one before


def to_parquet(table: pa.Table) -> bytes:
    """Return a table as Parquet with checksums, equal for equal tables; the raw store compresses it."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="none", write_page_checksum=True)
    return bytes(sink.getvalue())


def from_parquet(payload: Payload) -> pa.Table:
    """Return the table of a payload made by `to_parquet`.

    Raises:
        NoDataError: the payload has no bytes.
        SourceError: it is truncated or altered.
    """
    if not payload.content:
        raise NoDataError(f"{payload.name}: the payload is empty")
    try:
        table = pq.read_table(pa.BufferReader(copy_to_arrow(payload.content)), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{payload.name}: not readable as parquet, {first_line(error)}") from error
    return table.combine_chunks()


def read_parquet(content: bytes, max_bytes: int) -> pa.Table:
    """Return the table of a file with plain columns: text is neither a dictionary nor a view.

    Memory stays near `max_bytes`, however large run lengths and dictionaries expand.

    Raises:
        SourceError: it is damaged, in another format, or takes more than `max_bytes` once decoded.
    """
    try:
        # A dictionary holds one text for any number of cells: it is kept until the cells are known to fit.
        with pq.ParquetFile(pa.BufferReader(copy_to_arrow(content))) as file:
            _refuse_large(file.metadata, max_bytes)
            texts, rows = _texts(file.metadata), _rows(file.metadata, max_bytes)
        # Checksums, where the writer left them, detect flipped bits.
        source = pa.BufferReader(copy_to_arrow(content))
        with pq.ParquetFile(source, read_dictionary=texts, page_checksum_verification=True) as file:
            schema = pa.schema([field.with_type(_plain(field.type)) for field in file.schema_arrow])
            batches = list(_within(file.iter_batches(batch_size=rows), schema, max_bytes))
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"not readable as parquet, {first_line(error)}") from error
    return pa.Table.from_batches(batches, schema)


def _texts(metadata: pq.FileMetaData) -> list[str]:
    """Return the columns of text that Arrow can read as dictionaries."""
    columns = {number: metadata.schema.column(number) for number in range(metadata.num_columns)}
    repeating = {number for number, part in _parts(metadata) if _DELTA in part.encodings}
    return [
        column.path
        for number, column in columns.items()
        if column.physical_type == "BYTE_ARRAY" and number not in repeating
    ]


def _parts(metadata: pq.FileMetaData) -> Iterator[tuple[int, pq.ColumnChunkMetaData]]:
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        yield from ((number, group.column(number)) for number in range(metadata.num_columns))


def _refuse_large(metadata: pq.FileMetaData, max_bytes: int) -> None:
    """Raise SourceError if the metadata of the file say that it is too large, as run lengths can make it."""
    wide = sum(max(8, metadata.schema.column(number).length) * part.num_values for number, part in _parts(metadata))
    least = metadata.num_rows * metadata.num_columns * 8
    if max(wide, least, sum(part.total_uncompressed_size for _, part in _parts(metadata))) > max_bytes:
        shape = f"{metadata.num_rows} rows of {metadata.num_columns} columns"
        raise SourceError(f"{shape} are more than max_bytes, {max_bytes}, once decoded")


def _rows(metadata: pq.FileMetaData, max_bytes: int) -> int:
    """Return how many rows to decode at a time; no text is longer than its whole column in the file."""
    repeating = {number for number, part in _parts(metadata) if _DELTA in part.encodings}
    longest = max((part.total_uncompressed_size for number, part in _parts(metadata) if number in repeating), default=0)
    return min(_ROWS, max(1, max_bytes // longest)) if longest else _ROWS


def _within(batches: Iterator[pa.RecordBatch], schema: pa.Schema, max_bytes: int) -> Iterator[pa.RecordBatch]:
    """Yield batches with plain columns, as long as all together are not larger than `max_bytes`."""
    size = 0
    for batch in batches:
        size += sum(map(_size, batch.columns))
        if size > max_bytes:
            raise SourceError(f"its cells are more than max_bytes, {max_bytes}, once decoded")
        yield batch.cast(schema)


def _size(array: pa.Array) -> int:
    """Return the size of the values of an array in bytes once it is plain."""
    if pa.types.is_dictionary(array.type):
        return int(pc.sum(pc.take(pc.binary_length(array.dictionary), array.indices)).as_py() or 0) + 4 * len(array)
    if pa.types.is_struct(array.type):
        return sum(map(_size, array.flatten()))
    if pa.types.is_map(array.type):
        return _size(array.keys) + _size(array.items) + 4 * len(array)
    if pa.types.is_nested(array.type):
        return _size(array.flatten()) + 4 * len(array)
    return int(array.nbytes)


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return a type without dictionaries; Arrow cannot take rows of views."""
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_plain(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(_plain(kind.key_type), _plain(kind.item_type))
    if pa.types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(_plain(kind.value_type)))
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_plain(kind.value_type)))
    return kind
