"""Payload bytes to an Arrow table whose header is sound; ragged CSV lines are kept aside, not lost."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq

from pipeline.errors import ContractError, NoDataError, SourceError
from pipeline.sources.base import Payload


def read_table(payload: Payload, form: Literal["csv", "parquet"]) -> tuple[pa.Table, list[tuple[str, str]]]:
    """Return the table of a payload with stripped column names, and (line, reason) of lines that do not fit.

    Every column of a CSV payload is text as given.

    Raises:
        NoDataError: the payload has no bytes.
        SourceError: it is truncated or in another format.
        ContractError: two columns share a name.
    """
    if not payload.content:
        raise NoDataError(f"{payload.name}: the payload is empty")
    try:
        table, ragged = _csv(payload.content) if form == "csv" else (_parquet(payload.content), [])
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(f"{payload.name}: not readable as {form}, {line}") from error
    names = [name.strip() for name in table.column_names]
    for name in names:
        if names.count(name) > 1:
            raise ContractError(f"{payload.name}: two columns are called '{name}'")
    return table.rename_columns(names).combine_chunks(), ragged


def _parquet(content: bytes) -> pa.Table:
    # A flipped bit is noticed where the writer left checksums.
    return pq.read_table(pa.BufferReader(content), page_checksum_verification=True)


def _csv(content: bytes) -> tuple[pa.Table, list[tuple[str, str]]]:
    ragged: list[tuple[str, str]] = []

    def keep(row: csv.InvalidRow) -> str:
        fault = f"line {row.number} has {row.actual_columns} columns, not {row.expected_columns}"
        ragged.append((row.text, fault))
        return "skip"

    one_thread = csv.ReadOptions(use_threads=False)  # a fixed order, and line numbers
    forgiving = csv.ParseOptions(invalid_row_handler=keep)
    with csv.open_csv(pa.BufferReader(content), read_options=one_thread, parse_options=forgiving) as reader:
        names = reader.schema.names
    ragged.clear()
    as_given = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    table = csv.read_csv(
        pa.BufferReader(content), read_options=one_thread, parse_options=forgiving, convert_options=as_given
    )
    return table, ragged
