"""The ledger: an append-only table of every decision on what serves, with who, why and the numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import pyarrow as pa

from pipeline.store.delta.table import Table
from pipeline.store.objects import ObjectStore
from pipeline.store.observations import TIME

Action = Literal["promoted", "refreshed", "refused", "rollback", "stepped_down", "stepped_up"]
"""The last two are live verdicts: they change what serves and no alias; see `standing`."""

SCHEMA = pa.schema(
    [
        ("number", pa.int64()),
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


@dataclass(frozen=True)
class Entry:
    """A row of the ledger."""

    number: int
    """Row number in the order of writing; `at` may lie in the past when it is replayed."""
    at: datetime
    action: Action
    version: int
    previous: int | None
    who: str
    why: str
    numbers: str
    key: str

    @property
    def moves_champion(self) -> bool:
        """Whether it put a version into service."""
        return self.action in ("promoted", "refreshed", "rollback")


class Ledger:
    """The history of the champions of one product."""

    def __init__(self, store: ObjectStore) -> None:
        self.table = Table(store, SCHEMA)

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
        """Append a row, unless a row with the same key exists.

        Args:
            action: The decision.
            at: Time of the decision.
            version: Registry version that was promoted, refreshed, refused or rolled back to; of a step, the champion.
            previous: Version in service before, if any.
            who: The gate, or the name of a person.
            why: The reason in a sentence.
            numbers: The verdict with its scores as JSON; of a step, a `LiveVerdict`.
            key: Key of the decision, equal for a repeated retrain.
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

        def choose(present: pa.Table) -> pa.Table:
            if key in present["key"].to_pylist():
                return SCHEMA.empty_table()
            return pa.Table.from_pylist([{"number": present.num_rows + 1, **row}], SCHEMA)

        self.table.append(choose)

    def read(self) -> list[Entry]:
        """Return the rows, last written first."""
        return [Entry(**row) for row in self.table.read().sort_by([("number", "descending")]).to_pylist()]

    def before(self, current: int) -> int | None:
        """Return the version to which a rollback from the `current` champion leads, or None.

        A rollback undoes a promotion or a refresh, so the next rollback goes further back and never forward again.
        """
        served: list[int] = []
        for row in reversed(self.read()):
            if row.action in ("promoted", "refreshed") and served[-1:] != [row.version]:
                served.append(row.version)
            elif row.action == "rollback":
                while served and served[-1] != row.version:
                    served.pop()
        while served and served[-1] != current:
            served.pop()
        return served[-2] if len(served) > 1 else None
