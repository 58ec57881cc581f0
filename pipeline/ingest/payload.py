"""Ingest of one payload: decode it, check it, store good rows, quarantine others, and write the receipt last."""

from __future__ import annotations

from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class PayloadResult:
    """The outcome of one payload."""

    appended: AppendResult
    refused: int
    reasons: dict[str, int]
    downsampled: int = 0
    """Rows left out because another row represents the same time step."""
    warnings: tuple[str, ...] = ()
    """Problems with rows that were stored all the same."""
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
    """Store the good rows of a payload as known since `at`, and quarantine the others. A second call changes nothing.

    A payload that cannot be used at all is quarantined as one row with the reason, and stays in the raw store. One that
    was ingested before adds what is missing and overrides nothing. With a time range, or with `history`, values
    from before the store existed count as known since their time. For a `live` payload, the newest of its feed,
    freshness is checked as well.

    Raises:
        StoreError: a store cannot be written.
    """
    if received.fault is not None:
        return PayloadResult(AppendResult(0, 0, 0), 0, {}, fault=received.fault)
    validated = _validate(received, feed, at=at, since=since, until=until, live=live)
    digest, history = received.digest, history or since is not None or until is not None
    feed.quarantine.add(validated.refused, at=at, payload=digest, name=received.name)
    appended = AppendResult(0, 0, 0)
    if validated.accepted is not None and validated.accepted.num_rows:
        appended = feed.observations.append(
            validated.accepted, at=at, payload=digest, history=history, only_missing=received.known
        )
    if validated.report:
        atomic.write_file(feed.layout.quality_page, quality_page(validated.report).encode())
    reasons = count_reasons(validated.refused)
    result = PayloadResult(
        appended, validated.refused.num_rows, reasons, validated.downsampled, validated.warnings, validated.fault
    )
    receipt = {
        "payload": digest,
        "name": received.name,
        "at": at.isoformat(),
        "since": since.isoformat() if since else None,
        "until": until.isoformat() if until else None,
        "history": history,
        "known": received.known,
        "accepted": appended.added,
        "revised": appended.revised,
        "unchanged": appended.unchanged,
        "refused": result.refused,
        "thinned": result.downsampled,
        "warnings": list(result.warnings),
        "reasons": result.reasons,
        "checks": validated.report,
    }
    feed.receipts_for(since, until).write(digest, receipt)
    feed.last_payloads.put(received.name, digest)
    return result


def validate_rows(rows: pa.Table, feed: OpenFeed, *, at: datetime, live: bool = False) -> Validated:
    """Check rows against the contract of their feed and the recent observations before them.

    Raises:
        BatchError: the batch as a whole is refused.
    """
    window = recent_window(rows, feed.spec, feed.locations)
    recent = feed.observations.read(since=window[0], until=window[1]) if window else None
    return check_rows(rows, feed.spec, feed.locations, now=at, recent=recent, live=live)


@dataclass(frozen=True)
class _ValidatedPayload:
    """A payload after decoding and checks."""

    accepted: pa.Table | None
    refused: pa.Table
    report: dict[str, Any]
    downsampled: int = 0
    warnings: tuple[str, ...] = ()
    fault: NightcastError | None = None


def _validate(
    received: Received,
    feed: OpenFeed,
    *,
    at: datetime,
    since: datetime | None,
    until: datetime | None,
    live: bool,
) -> _ValidatedPayload:
    try:
        decoded = feed.source.decode(feed.raw.get(received.digest))
        if not (decoded.rows.num_rows or decoded.refused.num_rows):
            raise NoDataError(f"{received.name}: no rows")
        rows, refused = _within(decoded.rows, since, until), _within(decoded.refused, since, until)
        if not rows.num_rows:
            return _ValidatedPayload(None, refused, {}, decoded.downsampled, decoded.notes)
        checked = validate_rows(rows, feed, at=at, live=live and _is_newest(rows, feed))
    except NoDataError as error:
        if feed.source.about.supports_time_range:  # an empty time range is normal, an empty file is not
            return _ValidatedPayload(None, refused_table([]), {}, warnings=(str(error),))
        return _ValidatedPayload(None, _whole(error), {}, fault=error)
    except (SourceError, ContractError) as error:
        return _ValidatedPayload(
            None, _whole(error), error.report if isinstance(error, BatchError) else {}, fault=error
        )
    return _ValidatedPayload(
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
    """Return the rows within a time range, and those whose time could not be read."""
    kept = pc.scalar(True)
    if since is not None:
        kept &= pc.field("valid_time") >= pa.scalar(since, TIME)
    if until is not None:
        kept &= pc.field("valid_time") <= pa.scalar(until, TIME)
    return rows.filter(kept | pc.field("valid_time").is_null())
