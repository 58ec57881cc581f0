"""The quarantine: refused rows with their reasons and payload, and the decisions to release or drop them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from expectations.reasons import from_json
from pipeline.ingest.quality.reasons import count_reasons
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
        ("reasons", pa.string()),  # JSON list of `Reason`; null in rows of releases that kept only the sentence
    ]
)
DECISIONS = pa.schema(
    [("id", pa.string()), ("action", pa.string()), ("at", TIME), ("who", pa.string()), ("why", pa.string())]
)
Action = Literal["released", "dropped"]
_SHOWN = [name for name in SCHEMA.names if name != "month"]
_ID_LENGTH = 16
_IDENTITY = ["valid_time", "location", "values"]


class Quarantine:
    """The refused rows of one feed. The same row of the same payload never enters twice.

    The id of a row is made of its payload, key and values, and of the kinds and variables of its reasons. The numbers
    of a reason do not count, because they may depend on the other rows in the store. A row whose reason was kept as a
    sentence alone, by an earlier release, is recognised by its payload, key and values. Rows are never changed or
    removed: a release or a drop is a row of `decisions`.
    """

    def __init__(self, rows: ObjectStore, decisions: ObjectStore) -> None:
        self.table = Table(rows, SCHEMA, "month")
        self.decisions = Table(decisions, DECISIONS)

    def add(self, refused: pa.Table, *, at: datetime, payload: str, name: str = "") -> int:
        """Keep the refused rows of one payload; return how many were new.

        Args:
            refused: Rows of `REFUSED_SCHEMA`, in payload order.
            at: When they were refused.
            payload: Digest of the payload.
            name: Name of the payload, such as that of its file.
        """
        if refused.num_rows == 0:
            return 0
        rows = refused.select(["valid_time", "location", "values", "reason", "reasons"])
        more = {"quarantined_at": at, "payload": payload, "name": name, "month": _month(at)}
        for column, value in more.items():
            rows = rows.append_column(column, pa.repeat(pa.scalar(value, SCHEMA.field(column).type), rows.num_rows))
        rows = _first_of_each(rows.append_column("id", _ids(rows, payload)).select(SCHEMA.names))

        def choose(_: pa.Table) -> pa.Table:
            present = self.table.read(pc.field("payload") == payload, ["id"])["id"]
            new = rows.filter(pc.invert(pc.is_in(rows["id"], value_set=present.combine_chunks())))
            before = self.table.read((pc.field("payload") == payload) & pc.field("reasons").is_null(), _IDENTITY)
            if not (new.num_rows and before.num_rows):
                return new
            known = _digests(before, payload)
            return new.filter(pc.invert(pc.is_in(_digests(new, payload), value_set=known)))

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
        """Return the rows, as `read` does, that are neither released nor dropped."""
        rows = self.read(since=since, until=until)
        decided = self.decisions.read(columns=["id"])["id"].combine_chunks()
        return rows.filter(pc.invert(pc.is_in(rows["id"], value_set=decided)))

    def rows(self, ids: Iterable[str]) -> pa.Table:
        """Return the rows with these ids; unknown ids are ignored."""
        named = pa.array(sorted(set(ids)), pa.string())
        return self.table.read(pc.field("id").isin(named), _SHOWN).sort_by("quarantined_at")

    def keys(self, payload: str) -> pa.Table:
        """Return time and location of the rows of a payload that have both."""
        named = (pc.field("payload") == payload) & pc.field("valid_time").is_valid() & pc.field("location").is_valid()
        return self.table.read(named, ["valid_time", "location"])

    def find(self, recorded: Iterable[Mapping[str, Any]]) -> list[str]:
        """Return the ids of recorded rows in the table of today.

        A row that an earlier release recorded has another id once it is refused anew, as a repair does it; it is found
        by its payload, key and values.
        """
        rows = list(recorded)
        payloads = pa.array(sorted({row["payload"] for row in rows}), pa.string())
        known: set[str] = set()
        by_key: dict[tuple[Any, ...], list[str]] = {}
        for row in self.table.read(pc.field("payload").isin(payloads), ["id", "payload", *_IDENTITY]).to_pylist():
            known.add(row["id"])
            by_key.setdefault(_key(row), []).append(row["id"])
        ids: list[str] = []
        for row in rows:
            ids += [row["id"]] if row["id"] in known or row.get("reasons") else by_key.get(_key(row), [])
        return ids

    def record_decision(
        self, ids: Iterable[str], *, at: datetime, who: str, why: str, action: Action = "released"
    ) -> int:
        """Record that rows are released or dropped; return their number. The first decision on a row stands.

        Unknown ids are ignored.
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
        return count_reasons(self.table.read(columns=["reason", "reasons"]))


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("payload", *_IDENTITY))


def _month(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m}"


def _ids(rows: pa.Table, payload: str) -> pa.Array:
    """Return an id for each row, which depends on its payload, key, values, and kinds of reasons."""
    distinct = rows["reasons"].combine_chunks().dictionary_encode()
    reasons = map(from_json, distinct.dictionary.to_pylist())
    identities = [orjson.dumps([one.identity for one in each]).decode() for each in reasons]
    return _digests(rows, payload, pa.array(identities, pa.string()).take(distinct.indices))


def _digests(rows: pa.Table, payload: str, *more: pa.Array) -> pa.Array:
    """Return the beginning of the SHA-256 of each row's payload, key, values and of further texts."""
    parts = [pc.cast(rows["valid_time"].cast(pa.int64()), pa.string())]
    for column in (rows["location"], rows["values"], *more):
        parts += [pc.cast(pc.binary_length(column), pa.string()), column]
    # With the lengths, two different rows never give the same text; null differs from an empty text.
    texts = pc.binary_join_element_wise(*parts, " ", null_handling="replace", null_replacement="-")
    start = hashlib.sha256(f"{payload} ".encode())
    digests = []
    for text in texts.to_pylist():
        digest = start.copy()
        digest.update(text.encode())
        digests.append(digest.hexdigest()[:_ID_LENGTH])
    return pa.array(digests, pa.string())


def _first_of_each(rows: pa.Table) -> pa.Table:
    codes = rows["id"].combine_chunks().dictionary_encode().indices.to_numpy()
    return rows.filter(pa.array(np.diff(np.maximum.accumulate(codes), prepend=-1) > 0))
