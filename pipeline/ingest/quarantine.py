"""Rows that were refused: kept with the reason and the payload they came in, and what was decided about them since."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ingest.quality.reasons import count_reasons, kind_of
from pipeline.store.delta.table import Table
from pipeline.store.objects import ObjectStore
from pipeline.store.observations import TIME

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("quarantined_at", TIME),
        ("valid_time", TIME),
        ("location", pa.string()),
        ("values", pa.string()),
        ("reason", pa.string()),
        ("payload", pa.string()),
        ("name", pa.string()),
        ("month", pa.string()),
    ]
)
DECISIONS = pa.schema(
    [("id", pa.string()), ("action", pa.string()), ("at", TIME), ("who", pa.string()), ("why", pa.string())]
)
Action = Literal["released", "dropped"]
_SHOWN = [name for name in SCHEMA.names if name != "month"]
_ID_LENGTH = 16


class Quarantine:
    """The refused rows of one feed. The same row of the same payload never enters twice.

    A row has an id, made of its payload, key, values and kind of reason: how far a value is off may depend on what else
    is in the store, so the numbers in a reason have no say. Rows are never changed or taken out: that one was released
    or dropped is a row of `decisions`.
    """

    def __init__(self, rows: ObjectStore, decisions: ObjectStore) -> None:
        self.table = Table(rows, SCHEMA, "month")
        self.decisions = Table(decisions, DECISIONS)

    def add(self, refused: pa.Table, *, at: datetime, payload: str, name: str = "") -> int:
        """Keep the refused rows of one payload (valid_time, location, values, reason); return how many were new.

        Args:
            refused: The rows, in payload order.
            at: When they were refused.
            payload: Digest of the payload.
            name: What people call the payload, e.g. the name of its file.
        """
        if refused.num_rows == 0:
            return 0
        rows = refused.select(["valid_time", "location", "values", "reason"])
        more = {"quarantined_at": at, "payload": payload, "name": name, "month": _month(at)}
        for column, value in more.items():
            rows = rows.append_column(column, pa.repeat(pa.scalar(value, SCHEMA.field(column).type), rows.num_rows))
        rows = _first_of_each(rows.append_column("id", _ids(rows, payload)).select(SCHEMA.names))

        def choose(_: pa.Table) -> pa.Table:
            present = self.table.read(pc.field("payload") == payload, ["id"])["id"]
            return rows.filter(pc.invert(pc.is_in(rows["id"], value_set=present.combine_chunks())))

        # Only ids are read, in `choose`; a writer who comes in between makes the commit start again.
        return int(self.table.append(choose, where=pc.scalar(False)).num_rows)

    def read(self, *, since: datetime | None = None, until: datetime | None = None) -> pa.Table:
        """Return the rows refused in [since, until], oldest first; those of one payload in its order."""
        where = pc.scalar(True)
        if since is not None:
            where &= (pc.field("quarantined_at") >= pa.scalar(since, TIME)) & (pc.field("month") >= _month(since))
        if until is not None:
            where &= (pc.field("quarantined_at") <= pa.scalar(until, TIME)) & (pc.field("month") <= _month(until))
        return self.table.read(where, _SHOWN).sort_by("quarantined_at")

    def open_rows(self, *, since: datetime | None = None, until: datetime | None = None) -> pa.Table:
        """Return the rows, as `read` does, that were neither released nor dropped."""
        rows = self.read(since=since, until=until)
        decided = self.decisions.read(columns=["id"])["id"].combine_chunks()
        return rows.filter(pc.invert(pc.is_in(rows["id"], value_set=decided)))

    def rows(self, ids: Iterable[str]) -> pa.Table:
        """Return the rows with these ids; an id that names none is passed over."""
        named = pa.array(sorted(set(ids)), pa.string())
        return self.table.read(pc.field("id").isin(named), _SHOWN).sort_by("quarantined_at")

    def release(self, ids: Iterable[str], *, at: datetime, who: str, why: str, action: Action = "released") -> int:
        """Record that rows were released or dropped; return of how many. What was decided once about a row stays.

        An id that names no row is passed over.
        """
        named = pc.unique(self.rows(ids)["id"])
        facts = {"id": named, "action": action, "at": at, "who": who, "why": why}
        columns = [
            value if name == "id" else pa.repeat(pa.scalar(value, DECISIONS.field(name).type), len(named))
            for name, value in facts.items()
        ]
        rows = pa.table(columns, schema=DECISIONS)

        def choose(present: pa.Table) -> pa.Table:
            return rows.filter(pc.invert(pc.is_in(rows["id"], value_set=present["id"].combine_chunks())))

        return int(self.decisions.append(choose).num_rows)

    def count(self, action: Action) -> int:
        """Return how many rows were released, or dropped."""
        return int(self.decisions.read(pc.field("action") == action, ["id"]).num_rows)

    def reasons(self) -> dict[str, int]:
        """Return how many rows were ever refused, by kind of reason, most frequent first."""
        return count_reasons(self.table.read(columns=["reason"]))


def _month(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m}"


def _ids(rows: pa.Table, payload: str) -> pa.Array:
    """Return a name for each row: the beginning of the SHA-256 of its payload, key, values and kind of reason."""
    reasons = rows["reason"].combine_chunks().dictionary_encode()  # far fewer than rows, as a rule
    kinds = pa.array([kind_of(reason) for reason in reasons.dictionary.to_pylist()], pa.string())
    parts = [pc.cast(rows["valid_time"].cast(pa.int64()), pa.string())]
    for column in (rows["location"], rows["values"], kinds.take(reasons.indices)):
        parts += [pc.cast(pc.binary_length(column), pa.string()), column]
    # With the lengths, no two rows are told by the same text; a value that is absent is told from one that is empty.
    told = pc.binary_join_element_wise(*parts, " ", null_handling="replace", null_replacement="-")
    start = hashlib.sha256(f"{payload} ".encode())
    ids = []
    for text in told.to_pylist():
        digest = start.copy()
        digest.update(text.encode())
        ids.append(digest.hexdigest()[:_ID_LENGTH])
    return pa.array(ids, pa.string())


def _first_of_each(rows: pa.Table) -> pa.Table:
    codes = rows["id"].combine_chunks().dictionary_encode().indices.to_numpy()
    return rows.filter(pa.array(np.diff(np.maximum.accumulate(codes), prepend=-1) > 0))
