"""The bytes of a payload as an Arrow table with a valid header, and its ragged CSV lines."""

from __future__ import annotations

import re
from collections import Counter
from typing import Literal

import pyarrow as pa

from pipeline.config.sources.files import Csv
from pipeline.errors import ContractError, NoDataError, SourceError
from pipeline.ingest.decoding.compression import Compression, decompress
from pipeline.ingest.decoding.csv_dialects import Ragged, read_csv
from pipeline.ingest.decoding.parquet import read_parquet
from pipeline.ingest.sources.base import Payload

MAX_BYTES = 2**28
_MAGIC = {
    b"\x1f\x8b": "compressed with gzip; set compression",
    b"BZh": "compressed with bz2; set compression",
    b"\xfd7zXZ\x00": "compressed with xz; set compression",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; set compression",
    b"PK\x03\x04": "a zip archive; unpack it",
    b"PAR1": "Parquet; correct format",
    b"CDF": "NetCDF; correct format",
    b"\x89HDF": "HDF5 or NetCDF; correct format",
    b"GRIB": "GRIB; correct format",
    b"%PDF": "PDF",
}
_HTML = re.compile(rb"(?i)\s*<(!doctype\s+html|html|head|body)\b")
_TITLE = re.compile(rb"(?is)<title[^>]*>\s*(.*?)\s*</title")


def read_table(
    payload: Payload,
    form: Literal["csv", "parquet"],
    *,
    csv: Csv | None = None,
    compression: Compression = "none",
    max_bytes: int = MAX_BYTES,
) -> tuple[pa.Table, Ragged]:
    """Return the table of a payload with stripped column names, and its ragged lines.

    Every column of a CSV payload is text.

    Raises:
        NoDataError: the payload is empty.
        SourceError: it is truncated, in another format, or larger than `max_bytes` once decoded.
        ContractError: two columns have the same name, or the dialect is wrong.
    """
    if not payload.content:
        raise NoDataError(f"{payload.name}: the payload is empty")
    content = decompress(payload, compression, max_bytes)
    try:
        if not content:
            raise NoDataError("the payload is empty")
        _refuse_others(content, form)
        table, ragged = read_csv(content, csv or Csv()) if form == "csv" else (read_parquet(content, max_bytes), [])
    except (SourceError, NoDataError, ContractError) as error:
        raise type(error)(f"{payload.name}: {error}") from error
    names = [name.strip() for name in table.column_names]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ContractError(f"{payload.name}: two columns are called '{twice[0]}'")
    return table.rename_columns(names).combine_chunks(), ragged


def _refuse_others(content: bytes, form: str) -> None:
    """Raise SourceError if the content is clearly in another format."""
    if page := _HTML.match(content[:200]):
        title = _TITLE.search(content[:10_000])
        shown = f", titled '{title[1].decode(errors='replace')[:80]}'" if page and title else ""
        raise SourceError(f"not readable as {form}, it is an HTML page{shown}")
    found = next((kind for magic, kind in _MAGIC.items() if content.startswith(magic)), "")
    if found and not (form == "parquet" and content.startswith(b"PAR1")):
        raise SourceError(f"not readable as {form}, it is {found}")
