"""The ledger: every change of champion, and every refusal, with who, why and the numbers. Rows are only added."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import Product, Settings
from pipeline.store.layout import Layout
from pipeline.store.observations import TIME
from pipeline.store.table import Table

Action = Literal["promoted", "refused", "rollback"]

SCHEMA = pa.schema(
    [
        ("at", TIME),
        ("action", pa.string()),
        ("version", pa.int64()),
        ("previous", pa.int64()),
        ("who", pa.string()),
        ("why", pa.string()),
        ("numbers", pa.string()),
        ("key", pa.string()),
    ]
)


class Ledger:
    """The history of what was in service for one product."""

    def __init__(self, path: Path) -> None:
        self.table = Table(path, SCHEMA)

    @classmethod
    def of(cls, product: Product, settings: Settings) -> Ledger:
        """Return the ledger of a product."""
        return cls(Layout.of(product, settings).ledger)

    def write(
        self,
        action: Action,
        *,
        at: datetime,
        version: int,
        previous: int | None,
        who: str,
        why: str,
        numbers: str = "{}",
        key: str,
    ) -> None:
        """Add one row; a second row with the same key is not added.

        Args:
            action: What was done.
            at: When.
            version: Registry version concerned.
            previous: Version in service before, if any.
            who: The gate, or a person.
            why: The reason, in a sentence.
            numbers: JSON of the scores behind it.
            key: Identity of the decision: the same retrain, repeated, is the same decision.
        """
        row = {
            "at": at,
            "action": action,
            "version": version,
            "previous": previous,
            "who": who,
            "why": why,
            "numbers": numbers,
            "key": key,
        }
        rows = pa.Table.from_pylist([row], SCHEMA)
        self.table.append(lambda present: rows.slice(0, 0) if present.num_rows else rows, where=pc.field("key") == key)

    def read(self) -> list[dict[str, object]]:
        """Return the rows, newest first."""
        rows: list[dict[str, object]] = self.table.read().sort_by([("at", "descending")]).to_pylist()
        return rows
