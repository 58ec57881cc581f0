"""The release of refused rows: decoded and checked again from their payload, stored, and recorded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations.observations import KNOWN, off_grid
from pipeline.errors import BatchError, ContractError
from pipeline.ingest.decoding.cells import as_json
from pipeline.ingest.feed import OpenFeed
from pipeline.ingest.payload import validate_rows
from pipeline.ingest.quality.checks import KEY
from pipeline.ingest.quality.reasons import is_whole_payload
from pipeline.ingest.quarantine import Action
from pipeline.ingest.sources.base import Decoded, Payload, refused_table
from pipeline.store.delta.digests import sha256
from pipeline.store.observations import TIME, AppendResult
from pipeline.store.receipts import Receipts

Row = dict[str, Any]
DECISION = "release"
"""Key of a decision in a receipt, also of a drop. Existing receipts contain this spelling: never change it."""
_RECORDED = ("id", "location", "values", "reason", "reasons", "payload")


@dataclass(frozen=True)
class Released:
    """The rows of one payload that a release is to store."""

    payload: str
    name: str
    accepted: pa.Table
    refused: pa.Table
    """Bad rows of a payload that was refused as a whole; they go to quarantine one by one."""


def judge_release(rows: Sequence[Row], feed: OpenFeed, *, at: datetime, override: bool = False) -> list[Released]:
    """Return the rows to store for rows of the quarantine, by payload; nothing is written.

    A row that stands for a whole payload releases all good rows of it. With `override`, only a row that cannot be
    stored at all is refused: one with an unknown location, a time off the grid, or no number. A whole payload then
    skips the checks that refuse payloads; its bad rows stay out.

    Raises:
        ContractError: a row cannot be read or would be refused again.
        SourceError: its payload cannot be read.
        StoreError: its payload is damaged or missing.
    """
    released = []
    ordered = sorted(rows, key=lambda row: str(row["payload"]))
    for digest, group in groupby(ordered, key=lambda row: str(row["payload"])):
        named = list(group)
        single = [row for row in named if not is_whole_payload(row)]
        if len(single) < len(named):
            released.append(_release_payload(digest, feed, at, override))
        if single:
            released.append(_release_rows(digest, single, feed, at, override))
    return released


def store_released(released: Iterable[Released], feed: OpenFeed, *, at: datetime) -> AppendResult:
    """Store released rows as known since `at`; doing it twice changes nothing.

    A row with a `known_at` of its own keeps it only if that is later than `at`.

    Raises:
        StoreError: a store cannot be written.
    """
    entered = AppendResult(0, 0, 0)
    for one in released:
        feed.quarantine.add(one.refused, at=at, payload=one.payload, name=one.name)
        accepted = _known_from(one.accepted, at)
        added = feed.observations.append(accepted, at=at, payload=one.payload)
        entered = AppendResult(
            entered.added + added.added, entered.revised + added.revised, entered.unchanged + added.unchanged
        )
    return entered


def decide(
    rows: Sequence[Row],
    feed: OpenFeed,
    *,
    at: datetime,
    who: str,
    why: str,
    action: Action,
    override: bool = False,
) -> None:
    """Record that rows were released or dropped: in a receipt, for repairs, and then in the quarantine.

    Raises:
        StoreError: a store cannot be written.
    """
    ids = sorted(row["id"] for row in rows)
    recorded = [
        {**{name: row[name] for name in _RECORDED}, "valid_time": row["valid_time"] and row["valid_time"].isoformat()}
        for row in rows
    ]
    decision = {"action": action, "who": who, "why": why, "override": override, "rows": recorded}
    # Kept with the receipts of payloads, whose readers skip receipts without a payload.
    Receipts(feed.layout.receipts).write(
        f"{action} {sha256(json.dumps(ids).encode())}", {"at": at.isoformat(), DECISION: decision}
    )
    feed.quarantine.record_decision(ids, at=at, who=who, why=why, action=action)


def decide_again(receipt: dict[str, Any], feed: OpenFeed) -> None:
    """Repeat a decision that `decide` recorded, as it was made then.

    Raises:
        ContractError: a row would be refused by the product file of today.
        SourceError: a payload cannot be read.
        StoreError: a payload is damaged or missing, or a store cannot be written.
    """
    at, decision = datetime.fromisoformat(receipt["at"]), receipt[DECISION]
    rows = [
        {**row, "valid_time": datetime.fromisoformat(row["valid_time"]) if row["valid_time"] else None}
        for row in decision["rows"]
    ]
    if decision["action"] == "released":
        # An earlier release recorded rows without a key as released, yet never stored them.
        stored = [row for row in rows if row.get("reasons") or _has_key(row) or is_whole_payload(row)]
        override = decision["override"]
        store_released(judge_release(stored, feed, at=at, override=override), feed, at=at)
    quarantine = feed.quarantine
    who, why, action = (decision[name] for name in ("who", "why", "action"))
    quarantine.record_decision(quarantine.find(rows), at=at, who=who, why=why, action=action)


def _known_from(rows: pa.Table, at: datetime) -> pa.Table:
    if "known_at" not in rows.column_names:
        return rows
    rows = rows.sort_by("known_at")  # of several rows with one key, the one known last counts
    now = pa.scalar(at, TIME)
    known_at = pc.if_else(pc.less(rows["known_at"], now), now, rows["known_at"])
    return rows.set_column(rows.schema.get_field_index("known_at"), "known_at", known_at)


def _release_payload(digest: str, feed: OpenFeed, at: datetime, override: bool) -> Released:
    """Return the good rows of a payload that was refused as a whole, and the others."""
    payload, decoded = _decode(digest, feed)
    checks = feed.with_row_checks_only() if override else feed
    try:
        checked = validate_rows(decoded.rows, checks, at=at)
    except BatchError as error:
        raise ContractError(f"{error}; correct the product file, or release it with --override") from None
    return Released(digest, payload.name, checked.accepted, pa.concat_tables([decoded.refused, checked.refused]))


def _release_rows(digest: str, rows: list[Row], feed: OpenFeed, at: datetime, override: bool) -> Released:
    """Return rows of the quarantine as the product file of today decodes and checks them."""
    payload, decoded = _decode(digest, feed)
    keyed = [row for row in rows if _has_key(row)]
    keyless = [row for row in rows if not _has_key(row)]
    picked = pa.concat_tables(
        [
            _find_keyed(keyed, decoded.rows, feed, payload.name),
            _find_keyless(keyless, decoded, feed, digest, payload.name),
        ]
    )
    if override:
        _require_storable(picked, feed)
    if override or not picked.num_rows:
        return Released(digest, payload.name, picked, refused_table([]))
    checked = validate_rows(picked, feed, at=at)
    for first in checked.refused.slice(0, 1).to_pylist():
        raise ContractError(
            f"{feed.title}: {first['location']} at {first['valid_time']} would be refused again: "
            f"{first['reason']}; correct the product file, or release it with --override"
        )
    return Released(digest, payload.name, checked.accepted, refused_table([]))


def _decode(digest: str, feed: OpenFeed) -> tuple[Payload, Decoded]:
    payload = feed.raw.get(digest)
    return payload, feed.source.decode(payload)


def _has_key(row: Row) -> bool:
    return row["valid_time"] is not None and row["location"] is not None


def _find_keyed(rows: list[Row], decoded: pa.Table, feed: OpenFeed, name: str) -> pa.Table:
    """Return the decoded rows with the keys of refused ones; of several with one key, the one with equal values."""
    times, locations = ([row[column] for row in rows] for column in ("valid_time", "location"))
    near = pc.field("valid_time").isin(pa.array(times, TIME))
    candidates = decoded.filter(near & pc.field("location").isin(pa.array(locations, pa.string())))
    given = candidates.to_pylist()
    by_key: dict[tuple[datetime, str], list[int]] = {}
    for index, one in enumerate(given):
        by_key.setdefault((one["valid_time"], one["location"]), []).append(index)
    chosen: set[int] = set()
    for row in rows:
        found = by_key.get((row["valid_time"], row["location"]))
        if not found:
            raise ContractError(
                f"{feed.title}: {row['location']} at {row['valid_time']} still cannot be read from {name}: "
                f"{row['reason']}; correct the product file first"
            )
        chosen.add(([index for index in found if _values(given[index]) == row["values"]] or found)[-1])
    return candidates.take(pa.array(sorted(chosen), pa.int64()))


def _find_keyless(rows: list[Row], decoded: Decoded, feed: OpenFeed, digest: str, name: str) -> pa.Table:
    """Return the decoded rows that a corrected product file makes of rows that had no time or no location.

    Payloads do not number their rows, so these are the rows that are neither stored nor in quarantine under their key.
    They are clear as long as they have no more times than there are rows to release.
    """
    unreadable = set(decoded.refused.filter(_without_key())["values"].to_pylist())
    for row in rows:
        if row["values"] in unreadable:
            raise ContractError(
                f"{feed.title}: a row of {name} still cannot be read: {row['reason']}; correct the product file first"
            )
    new = decoded.rows
    locations = [row["location"] for row in rows]
    if rows and None not in locations:
        new = new.filter(pc.field("location").isin(pa.array(locations, pa.string())))
    if not (rows and new.num_rows):
        return new.slice(0, 0)
    bounds = pc.min_max(new["valid_time"])
    stored = feed.observations.stored_keys(bounds["min"].as_py(), bounds["max"].as_py())
    key = [*KEY, KNOWN] if KNOWN in new.column_names else KEY
    new = new.join(stored.select(key), key, join_type="left anti")
    new = new.join(feed.quarantine.keys(digest), KEY, join_type="left anti")
    new = new.sort_by([(name, "ascending") for name in key])
    if len(pc.unique(new["valid_time"])) > len(rows):
        raise ContractError(
            f"{feed.title}: {name} has more new times than there are rows to release, and nothing tells which "
            "ones are meant; release all rows of it without a time together, or ingest it again"
        )
    return new


def _without_key() -> pc.Expression:
    return pc.field("valid_time").is_null() | pc.field("location").is_null()


def _values(row: Row) -> str:
    return as_json({name: row[name] for name in row if name not in ("valid_time", "location")})


def _require_storable(rows: pa.Table, feed: OpenFeed) -> None:
    known = set(feed.locations.ids)
    times = rows["valid_time"].to_numpy().astype("datetime64[us]")
    off = off_grid(times, feed.spec.step)
    for index, location in enumerate(rows["location"].to_pylist()):
        if location not in known or np.isnat(times[index]) or off[index]:
            raise ContractError(
                f"{feed.title}: {location} at {times[index]} cannot be stored: the location is not one of the feed, or "
                "the time is off its grid; correct the product file first"
            )
