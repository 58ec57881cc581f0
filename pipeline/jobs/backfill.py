"""The job `backfill`: ingest a range of the past, in pieces that may run in any order and on any machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.errors import UsageError
from pipeline.ingest.feed import OpenFeed
from pipeline.ingest.fetch import Received, fetch_payloads
from pipeline.ingest.payload import PayloadResult, ingest_payload
from pipeline.jobs.ingest import FeedResult, summarise
from pipeline.jobs.job import OnProgress, Progress, Result, Runner, call, ignore_progress
from pipeline.times import months
from pipeline.workspace import Workspace


class BackfillResult(FeedResult, Result):
    """What one backfill stored."""

    since: datetime
    until: datetime
    part: tuple[int, int]
    """(k, n): the k-th of n parts of the work."""
    pieces: int
    """Time ranges or payloads of this part."""
    repeated: int
    """Pieces that an earlier backfill had finished."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A time range to query, or a payload that holds rows of the range."""

    name: str
    since: datetime
    until: datetime
    received: Received | None = None


def backfill(
    ws: Workspace,
    *,
    since: datetime,
    until: datetime,
    part: tuple[int, int] = (1, 1),
    at: datetime | None = None,
    run: Runner = call,
    on_progress: OnProgress = ignore_progress,
) -> BackfillResult:
    """Ingest the observations of [since, until] as history, piece by piece; finished pieces are not repeated.

    A source that supports time ranges is queried month by month; of other sources, each payload is a piece. Part k of
    n ingests every n-th piece, starting with the k-th. The resulting table does not depend on the order, the number of
    parts or on interruptions, as long as payloads do not contradict each other; if they do, the last one wins.
    Covariates are left out; an ingest of the range includes them.

    Raises:
        UsageError: the range is empty, or there is no such part.
        SourceError: the source cannot be reached; finished pieces stay.
    """
    at = at or datetime.now(UTC)
    number, parts = part
    if until < since:
        raise UsageError(f"until: {until:%Y-%m-%d %H:%M} is before since, {since:%Y-%m-%d %H:%M}; swap them")
    if not 1 <= number <= parts:
        raise UsageError(f"part: {number}/{parts} does not exist; write 1/{parts} to {parts}/{parts}")
    feed = ws.feed
    pieces = list(_split(feed, since, until, at, run))[number - 1 :: parts]
    finished = feed.receipts_for(since, until)
    results: list[PayloadResult] = []
    repeated = 0
    for index, piece in enumerate(pieces, 1):
        on_progress(Progress("piece", index, len(pieces), piece.name))
        if piece.name in finished:
            repeated += 1
            continue
        done = list(_ingest_piece(piece, feed, at, run))
        results += done
        if piece.received is None and all(one.fault is None for one in done):  # a payload has a receipt of its own
            finished.write(piece.name, {"at": at.isoformat(), "payloads": len(done)})
    return BackfillResult(
        product=ws.product.name,
        since=since,
        until=until,
        part=part,
        pieces=len(pieces),
        repeated=repeated,
        **dict(summarise(feed, results)),
    )


def _split(feed: OpenFeed, since: datetime, until: datetime, at: datetime, run: Runner) -> Iterator[Piece]:
    if feed.source.about.supports_time_range:
        for begin, end in months(since, until):
            yield Piece(f"{begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}", begin, end)
        return
    for received in run(fetch_payloads, feed, at=at, since=since, until=until, again=True):
        yield Piece(received.digest or received.name, since, until, received)


def _ingest_piece(piece: Piece, feed: OpenFeed, at: datetime, run: Runner) -> Iterator[PayloadResult]:
    payloads = [piece.received] if piece.received else None
    if payloads is None:
        payloads = run(fetch_payloads, feed, at=at, since=piece.since, until=piece.until, again=True)
    for payload in payloads:
        yield run(ingest_payload, payload, feed, at=at, since=piece.since, until=piece.until)
