"""Taking in a payload: decoded, judged, stored or quarantined, and receipted last."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from expectations.reasons import Reason
from pipeline import atomic
from pipeline.errors import BatchError, ContractError, NightcastError, NoDataError, SourceError
from pipeline.ingest.feed import OpenFeed
from pipeline.ingest.fetch import Received
from pipeline.ingest.quality.batch import recent_window
from pipeline.ingest.quality.checks import Validated, check_rows
from pipeline.ingest.quality.page import quality_page
from pipeline.ingest.quality.reasons import count_reasons
from pipeline.ingest.sources.base import refused_table
from pipeline.store.observations import TIME, AppendResult

KEY = ["valid_time", "location"]


@dataclass(frozen=True)
class PayloadResult:
    """What became of the rows of one payload."""

    appended: AppendResult
    refused: int
    reasons: dict[str, int]
    downsampled: int = 0
    """Rows left out because another one stands for the same step."""
    warnings: tuple[str, ...] = ()
    """What was odd and was kept."""
    fault: NightcastError | None = field(default=None)
    """Why nothing of the payload could be used."""


def ingest_payload(
    received: Received,
    feed: OpenFeed,
    *,
    at: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
    history: bool = False,
    live: bool = False,
) -> PayloadResult:
    """Store the good rows of a payload as learnt at `at` and quarantine the others.

    A payload that cannot be used at all is quarantined as one row that says why; it is kept in the raw store. One that
    was taken in before adds what is missing and overrides nothing. With a window, or with `history`, what is from
    before the store existed counts as known since its time. Of a `live` payload, the newest of its feed, the age is
    judged too. Doing this twice changes nothing.

    Raises:
        StoreError: a store cannot be written.
    """
    if received.fault is not None:
        return PayloadResult(AppendResult(0, 0, 0), 0, {}, fault=received.fault)
    judged = _judged(received, feed, at=at, since=since, until=until, live=live)
    digest, history = received.digest, history or since is not None or until is not None
    feed.quarantine.add(judged.refused, at=at, payload=digest, name=received.name)
    appended = AppendResult(0, 0, 0)
    if judged.accepted is not None and judged.accepted.num_rows:
        rows = not_stored(judged.accepted, feed) if received.known else judged.accepted
        added = feed.observations.append(rows, at=at, payload=digest, history=history)
        appended = replace(added, unchanged=added.unchanged + judged.accepted.num_rows - rows.num_rows)
    if judged.report:
        atomic.write_file(feed.layout.quality_page, quality_page(judged.report).encode())
    reasons = count_reasons(judged.refused)
    taken = PayloadResult(appended, judged.refused.num_rows, reasons, judged.downsampled, judged.warnings, judged.fault)
    receipt = {
        "payload": digest,
        "name": received.name,
        "at": at.isoformat(),
        "since": since.isoformat() if since else None,
        "until": until.isoformat() if until else None,
        "history": history,
        "known": received.known,
        "accepted": appended.accepted,
        "revised": appended.revised,
        "unchanged": appended.unchanged,
        "refused": taken.refused,
        "thinned": taken.downsampled,
        "warnings": list(taken.warnings),
        "reasons": taken.reasons,
        "checks": judged.report,
    }
    feed.receipts_for(since, until).write(digest, receipt)
    feed.last_payloads.put(received.name, digest)
    return taken


def judge(rows: pa.Table, feed: OpenFeed, *, at: datetime, live: bool = False) -> Validated:
    """Return rows split by the contract of their feed, beside what was observed in the weeks before them.

    Raises:
        BatchError: the batch as a whole is refused.
    """
    window = recent_window(rows, feed.spec, feed.locations)
    recent = feed.observations.read(since=window[0], until=window[1]) if window else None
    return check_rows(rows, feed.spec, feed.locations, now=at, recent=recent, live=live)


def not_stored(rows: pa.Table, feed: OpenFeed) -> pa.Table:
    """Return the rows whose time and location are not stored, by time, then location."""
    bounds = pc.min_max(rows["valid_time"])
    stored = feed.observations.read(since=bounds["min"].as_py(), until=bounds["max"].as_py())
    return rows.join(stored.select(KEY), KEY, join_type="left anti").sort_by([(name, "ascending") for name in KEY])


@dataclass(frozen=True)
class _Judged:
    """A payload after decoding and judgement."""

    accepted: pa.Table | None
    refused: pa.Table
    report: dict[str, Any]
    downsampled: int = 0
    warnings: tuple[str, ...] = ()
    fault: NightcastError | None = None


def _judged(
    received: Received,
    feed: OpenFeed,
    *,
    at: datetime,
    since: datetime | None,
    until: datetime | None,
    live: bool,
) -> _Judged:
    try:
        decoded = feed.source.decode(feed.raw.get(received.digest))
        if not (decoded.rows.num_rows or decoded.refused.num_rows):
            raise NoDataError(f"{received.name}: no rows")
        rows, refused = _within(decoded.rows, since, until), _within(decoded.refused, since, until)
        if not rows.num_rows:
            return _Judged(None, refused, {}, decoded.downsampled, decoded.notes)
        checked = judge(rows, feed, at=at, live=live and _is_newest(rows, feed))
    except NoDataError as error:
        if feed.source.about.supports_time_range:  # a quiet window is no fault, a file without rows is
            return _Judged(None, refused_table([]), {}, warnings=(str(error),))
        return _Judged(None, _whole(error), {}, fault=error)
    except (SourceError, ContractError) as error:
        return _Judged(None, _whole(error), error.report if isinstance(error, BatchError) else {}, fault=error)
    return _Judged(
        checked.accepted,
        pa.concat_tables([refused, checked.refused]),
        checked.report,
        decoded.downsampled,
        (*decoded.notes, *checked.warnings),
    )


def _is_newest(rows: pa.Table, feed: OpenFeed) -> bool:
    newest, last = feed.observations.newest(), pc.max(rows["valid_time"]).as_py()
    return newest is None or (last is not None and last >= newest)


def _whole(error: NightcastError) -> pa.Table:
    return refused_table([(None, None, "{}", [Reason("payload", value=str(error))])])


def _within(rows: pa.Table, since: datetime | None, until: datetime | None) -> pa.Table:
    """Return the rows of a window, and those whose time could not be read."""
    kept = pc.scalar(True)
    if since is not None:
        kept &= pc.field("valid_time") >= pa.scalar(since, TIME)
    if until is not None:
        kept &= pc.field("valid_time") <= pa.scalar(until, TIME)
    return rows.filter(kept | pc.field("valid_time").is_null())
