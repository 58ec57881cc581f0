"""Refused rows that somebody releases: decoded and judged anew from the payload they came in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations.observations import off_grid
from pipeline.config import Feed, Settings
from pipeline.errors import BatchError, ContractError
from pipeline.locations import Locations, read_locations
from pipeline.quality.intake import judge
from pipeline.quality.quarantine import Quarantine
from pipeline.sources.cells import as_json
from pipeline.sources.registry import open_source
from pipeline.store.layout import FeedLayout
from pipeline.store.observations import TIME, Appended, Observations
from pipeline.store.raw import RawStore

Row = dict[str, Any]


def release_rows(
    rows: Sequence[Row], feed: Feed, settings: Settings, *, at: datetime, override: bool = False
) -> Appended:
    """Let rows of the quarantine enter the observations, as learnt at `at`; a row without a key is a whole payload.

    With `override`, only what cannot be stored at all is refused: an unknown location, a time off the grid, no number.
    A whole payload enters then past the checks that refuse payloads; its bad rows stay out.

    Raises:
        ContractError: a row would be refused again; none of the rows of its payload entered.
        SourceError: its payload cannot be read.
    """
    entered = Appended(0, 0, 0)
    ordered = sorted(rows, key=lambda row: str(row["payload"]))
    for digest, group in groupby(ordered, key=lambda row: str(row["payload"])):
        named = list(group)
        if any(row["valid_time"] is None and row["location"] is None for row in named):
            accepted = _whole(digest, feed, settings, at, override)
        else:
            accepted = _chosen(digest, named, feed, settings, at, override)
        added = Observations.of(feed, settings).append(accepted, at=at, payload=digest)
        entered = Appended(
            entered.accepted + added.accepted, entered.revised + added.revised, entered.unchanged + added.unchanged
        )
    return entered


def _whole(digest: str, feed: Feed, settings: Settings, at: datetime, override: bool) -> pa.Table:
    """Return the good rows of a payload that was refused as a whole; the others go to quarantine one by one."""
    payload = RawStore(FeedLayout.of(feed, settings).raw).get(digest)
    decoded = open_source(feed, read_locations(feed), settings.secrets).decode(payload)
    milder = feed.model_copy(update={"quality": feed.quality.by_row()}) if override else feed
    try:
        checked = judge(decoded.rows, milder, settings, at=at)
    except BatchError as error:
        raise ContractError(f"{error}; correct the product file, or release it with --override") from None
    refused = pa.concat_tables([decoded.refused, checked.refused])
    Quarantine.of(feed, settings).add(refused, at=at, payload=digest, name=payload.name)
    return checked.accepted


def _chosen(digest: str, rows: list[Row], feed: Feed, settings: Settings, at: datetime, override: bool) -> pa.Table:
    """Return the rows that the quarantine names, as the product file of today decodes and judges them."""
    payload = RawStore(FeedLayout.of(feed, settings).raw).get(digest)
    decoded = open_source(feed, read_locations(feed), settings.secrets).decode(payload).rows
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
        _require_storable(picked, feed, read_locations(feed))
        return picked
    checked = judge(picked, feed, settings, at=at)
    for first in checked.refused.slice(0, 1).to_pylist():
        raise ContractError(
            f"{feed.title}: {first['location']} at {first['valid_time']} would be refused again: "
            f"{first['reason']}; correct the product file, or release it with --override"
        )
    return checked.accepted


def _values(row: Row) -> str:
    return as_json({name: row[name] for name in row if name not in ("valid_time", "location")})


def _require_storable(rows: pa.Table, feed: Feed, locations: Locations) -> None:
    known = set(locations.ids)
    times = rows["valid_time"].to_numpy().astype("datetime64[us]")
    off = off_grid(times, feed.step)
    for place, location in enumerate(rows["location"].to_pylist()):
        if location not in known or np.isnat(times[place]) or off[place]:
            raise ContractError(
                f"{feed.title}: {location} at {times[place]} cannot be stored: no station of the feed, or no time on "
                "its grid; correct the product file first"
            )
