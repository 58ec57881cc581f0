"""Rows that were refused: kept with the reason, the run and the payload they came in."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import Product, Settings
from pipeline.quality.reasons import count_reasons
from pipeline.store.layout import Layout
from pipeline.store.observations import TIME
from pipeline.store.table import Table

SCHEMA = pa.schema(
    [
        ("quarantined_at", TIME),
        ("valid_time", TIME),
        ("location", pa.string()),
        ("values", pa.string()),
        ("reason", pa.string()),
        ("payload", pa.string()),
    ]
)


class Quarantine:
    """The refused rows of one feed. The same row of the same payload never enters twice."""

    def __init__(self, path: Path) -> None:
        self.table = Table(path, SCHEMA)

    @classmethod
    def of(cls, product: Product, settings: Settings) -> Quarantine:
        """Return the quarantine of a product's feed."""
        return cls(Layout.of(product, settings).quarantine)

    def add(self, refused: pa.Table, *, at: datetime, payload: str) -> int:
        """Keep the refused rows of one payload (valid_time, location, values, reason); return how many were new."""
        if refused.num_rows == 0:
            return 0
        rows = refused.select(["valid_time", "location", "values", "reason"])
        rows = rows.append_column("quarantined_at", pa.array([at] * rows.num_rows, TIME))
        rows = rows.append_column("payload", pa.array([payload] * rows.num_rows, pa.string()))

        def choose(present: pa.Table) -> pa.Table:
            kept = set(map(_identity, present.to_pylist()))
            first = {_identity(row): n for n, row in reversed(list(enumerate(rows.to_pylist())))}
            return rows.take(pa.array(sorted(n for one, n in first.items() if one not in kept), pa.int64()))

        added = self.table.append(choose, where=pc.field("payload") == payload)
        return int(added.num_rows)

    def read(self) -> pa.Table:
        """Return every refused row."""
        return self.table.read()

    def reasons(self) -> dict[str, int]:
        """Return how many rows were refused, by kind of reason, most frequent first."""
        return count_reasons(self.read())


def _identity(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["valid_time"], row["location"], row["values"], row["reason"]
