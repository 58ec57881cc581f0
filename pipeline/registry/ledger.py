"""The ledger: every change of champion, and every refusal, with who, why and the numbers. Rows are only added."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import pyarrow as pa

from pipeline.store.delta.table import Table
from pipeline.store.objects import ObjectStore
from pipeline.store.observations import TIME

Action = Literal["promoted", "refused", "rollback"]

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
    """One row: what was decided, when, about which version, by whom and why."""

    number: int
    """Counts the rows in the order of their writing; `at` may be an instant of a replayed past."""
    at: datetime
    action: Action
    version: int
    previous: int | None
    who: str
    why: str
    numbers: str
    key: str


class Ledger:
    """The history of what was in service for one product."""

    def __init__(self, place: ObjectStore) -> None:
        self.table = Table(place, SCHEMA)

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

        def choose(present: pa.Table) -> pa.Table:
            if key in present["key"].to_pylist():
                return SCHEMA.empty_table()
            return pa.Table.from_pylist([{"number": present.num_rows + 1, **row}], SCHEMA)

        self.table.append(choose)

    def read(self) -> list[Entry]:
        """Return the rows, last written first."""
        return [Entry(**row) for row in self.table.read().sort_by([("number", "descending")]).to_pylist()]

    def before(self, present: int) -> int | None:
        """Return the version that a rollback from the `present` champion leads to, or None.

        A rollback takes back the promotion it undoes: the next one goes further back, never forth again.
        """
        served: list[int] = []
        for row in reversed(self.read()):
            if row.action == "promoted" and served[-1:] != [row.version]:
                served.append(row.version)
            elif row.action == "rollback":
                while served and served[-1] != row.version:
                    served.pop()
        while served and served[-1] != present:
            served.pop()
        return served[-2] if len(served) > 1 else None
