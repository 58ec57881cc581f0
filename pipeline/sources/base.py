"""What every source promises: payloads as the provider sent them, and their decoding into rows."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
import pyarrow as pa

from pipeline.config import Product
from pipeline.store.raw import Payload

__all__ = ["REFUSED_SCHEMA", "TIME", "Decoded", "Payload", "Source", "refused_table", "row_schema"]

TIME = pa.timestamp("us", tz="UTC")
REFUSED_SCHEMA = pa.schema(
    [
        ("valid_time", TIME),
        ("location", pa.string()),
        ("values", pa.string()),  # JSON object of what was given
        ("reason", pa.string()),
    ]
)
"""Columns of refused rows; valid_time and location are null where they could not be read."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a payload says: rows of `row_schema` in payload order, and rows of `REFUSED_SCHEMA`."""

    rows: pa.Table
    refused: pa.Table


class Source(Protocol):
    """A provider of observations."""

    def fetch(self, seen: Container[str], since: datetime | None, until: datetime | None) -> Iterator[Payload]:
        """Yield, in a fixed order, the payloads whose digest is not in `seen`.

        `since` and `until` bound the valid times of interest where the provider can choose; None is open.

        Raises:
            SourceError: the provider cannot be reached or read.
        """
        ...

    def decode(self, payload: Payload) -> Decoded:
        """Return the rows of a payload: valid_time in UTC, values in the unit of the stores.

        Raises:
            SourceError: the payload cannot be read.
            NoDataError: the payload is empty.
            ContractError: its columns are not those of the product.
        """
        ...


def row_schema(product: Product) -> pa.Schema:
    """Return the columns of decoded rows: valid_time in UTC, location, each variable in its store unit."""
    variables = [(name, pa.float64()) for name in product.feed.variables]
    return pa.schema([("valid_time", TIME), ("location", pa.string()), *variables])


def refused_table(rows: Iterable[tuple[np.datetime64 | None, str | None, str, str]]) -> pa.Table:
    """Return (valid_time, location, values, reason) tuples as a table; NaT and None become null."""
    times, *texts = list(zip(*rows, strict=True)) or [()] * len(REFUSED_SCHEMA)
    nat = np.datetime64("NaT")
    stamps = np.array([nat if time is None else time for time in times], dtype="datetime64[us]")
    columns = [pa.array(stamps, TIME), *(pa.array(text, pa.string()) for text in texts)]
    return pa.table(columns, schema=REFUSED_SCHEMA)
