"""Refused rows that somebody releases: decoded and judged anew from the payload they came in, and kept on record."""

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

from expectations.observations import off_grid
from pipeline.errors import BatchError, ContractError
from pipeline.ingest.decoding.cells import as_json
from pipeline.ingest.feed import OpenFeed
from pipeline.ingest.payload import judge
from pipeline.ingest.quarantine import Action
from pipeline.ingest.sources.base import refused_table
from pipeline.store.delta.digests import sha256
from pipeline.store.observations import TIME, Appended
from pipeline.store.receipts import Receipts

Row = dict[str, Any]
_RECORDED = ("id", "location", "values", "reason", "payload")


@dataclass(frozen=True)
class Released:
    """What a release lets in of one payload. Nothing is stored yet."""

    payload: str
    name: str
    accepted: pa.Table
    refused: pa.Table
    """Rows that stay out of a payload that was refused as a whole; they go to quarantine one by one."""


def judge_release(rows: Sequence[Row], feed: OpenFeed, *, at: datetime, override: bool = False) -> list[Released]:
    """Return what rows of the quarantine let in, by payload; nothing is written.

    A row without a key is a whole payload.
    With `override`, only what cannot be stored at all is refused: an unknown location, a time off the grid, no number.
    A whole payload enters then past the checks that refuse payloads; its bad rows stay out.

    Raises:
        ContractError: a row would be refused again.
        SourceError: its payload cannot be read.
        StoreError: its payload is torn or gone.
    """
    released = []
    ordered = sorted(rows, key=lambda row: str(row["payload"]))
    for digest, group in groupby(ordered, key=lambda row: str(row["payload"])):
        named = list(group)
        if any(row["valid_time"] is None and row["location"] is None for row in named):
            released.append(_whole(digest, feed, at, override))
        else:
            released.append(_chosen(digest, named, feed, at, override))
    return released


def store_released(released: Iterable[Released], feed: OpenFeed, *, at: datetime) -> Appended:
    """Store what a release lets in, as learnt at `at`; doing it twice changes nothing.

    A row that tells itself when it became known became known at `at` all the same, unless that is later.

    Raises:
        StoreError: a store cannot be written.
    """
    entered = Appended(0, 0, 0)
    for one in released:
        feed.quarantine.add(one.refused, at=at, payload=one.payload, name=one.name)
        accepted = _known_from(one.accepted, at)
        added = feed.observations.append(accepted, at=at, payload=one.payload)
        entered = Appended(
            entered.accepted + added.accepted, entered.revised + added.revised, entered.unchanged + added.unchanged
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
    """Record that rows were released or dropped: once so that a repair can do it again, then in the quarantine.

    Raises:
        StoreError: a store cannot be written.
    """
    ids = sorted(row["id"] for row in rows)
    told = [
        {**{name: row[name] for name in _RECORDED}, "valid_time": row["valid_time"] and row["valid_time"].isoformat()}
        for row in rows
    ]
    decision = {"action": action, "who": who, "why": why, "override": override, "rows": told}
    # Beside the receipts of payloads. Their readers pass over what is of no payload.
    Receipts(feed.layout.receipts).write(
        f"{action} {sha256(json.dumps(ids).encode())}", {"at": at.isoformat(), "release": decision}
    )
    feed.quarantine.release(ids, at=at, who=who, why=why, action=action)


def decide_again(receipt: dict[str, Any], feed: OpenFeed) -> None:
    """Do again what a record of `decide` tells of, as it was done then.

    Raises:
        ContractError: a row would be refused by the product file of today.
        SourceError: a payload cannot be read.
        StoreError: a payload is torn or gone, or a store cannot be written.
    """
    at, decision = datetime.fromisoformat(receipt["at"]), receipt["release"]
    rows = [
        {**row, "valid_time": datetime.fromisoformat(row["valid_time"]) if row["valid_time"] else None}
        for row in decision["rows"]
    ]
    if decision["action"] == "released":
        store_released(judge_release(rows, feed, at=at, override=decision["override"]), feed, at=at)
    feed.quarantine.release(
        [row["id"] for row in rows], at=at, who=decision["who"], why=decision["why"], action=decision["action"]
    )


def _known_from(rows: pa.Table, at: datetime) -> pa.Table:
    if "known_at" not in rows.column_names:
        return rows
    rows = rows.sort_by("known_at")  # of several that are released of one key, what was said last holds
    now = pa.scalar(at, TIME)
    known_at = pc.if_else(pc.less(rows["known_at"], now), now, rows["known_at"])
    return rows.set_column(rows.schema.get_field_index("known_at"), "known_at", known_at)


def _whole(digest: str, feed: OpenFeed, at: datetime, override: bool) -> Released:
    """Return the good rows of a payload that was refused as a whole, and the others."""
    payload = feed.raw.get(digest)
    decoded = feed.source.decode(payload)
    milder = feed.milder() if override else feed
    try:
        checked = judge(decoded.rows, milder, at=at)
    except BatchError as error:
        raise ContractError(f"{error}; correct the product file, or release it with --override") from None
    return Released(digest, payload.name, checked.accepted, pa.concat_tables([decoded.refused, checked.refused]))


def _chosen(digest: str, rows: list[Row], feed: OpenFeed, at: datetime, override: bool) -> Released:
    """Return the rows that the quarantine names, as the product file of today decodes and judges them."""
    payload = feed.raw.get(digest)
    decoded = feed.source.decode(payload).rows
    times, places = ([row[name] for row in rows] for name in ("valid_time", "location"))
    near = pc.field("valid_time").isin(pa.array(times, TIME)) & pc.field("location").isin(places)
    candidates = decoded.filter(near)
    given = candidates.to_pylist()
    chosen: set[int] = set()
    for row in rows:
        key = (row["valid_time"], row["location"])
        found = [place for place, one in enumerate(given) if (one["valid_time"], one["location"]) == key]
        if not found:
            raise ContractError(
                f"{feed.title}: {row['location']} at {row['valid_time']} still cannot be read from {payload.name}: "
                f"{row['reason']}; correct the product file first"
            )
        chosen.add(([place for place in found if _values(given[place]) == row["values"]] or found)[-1])
    picked = candidates.take(pa.array(sorted(chosen), pa.int64()))
    if override:
        _require_storable(picked, feed)
        return Released(digest, payload.name, picked, refused_table([]))
    checked = judge(picked, feed, at=at)
    for first in checked.refused.slice(0, 1).to_pylist():
        raise ContractError(
            f"{feed.title}: {first['location']} at {first['valid_time']} would be refused again: "
            f"{first['reason']}; correct the product file, or release it with --override"
        )
    return Released(digest, payload.name, checked.accepted, refused_table([]))


def _values(row: Row) -> str:
    return as_json({name: row[name] for name in row if name not in ("valid_time", "location")})


def _require_storable(rows: pa.Table, feed: OpenFeed) -> None:
    known = set(feed.locations.ids)
    times = rows["valid_time"].to_numpy().astype("datetime64[us]")
    off = off_grid(times, feed.spec.step)
    for place, location in enumerate(rows["location"].to_pylist()):
        if location not in known or np.isnat(times[place]) or off[place]:
            raise ContractError(
                f"{feed.title}: {location} at {times[place]} cannot be stored: no station of the feed, or no time on "
                "its grid; correct the product file first"
            )
