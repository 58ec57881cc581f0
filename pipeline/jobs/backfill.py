"""The job `backfill`: the past of a product's observations, in pieces that may run in any order and on any machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.errors import UsageError
from pipeline.ingest.feed import OpenFeed
from pipeline.ingest.fetch import Received, fetch_payloads
from pipeline.ingest.payload import PayloadResult, ingest_payload
from pipeline.jobs.ingest import described
from pipeline.jobs.runner import Runner, plain
from pipeline.results import BackfillResult
from pipeline.times import months
from pipeline.workspace import Workspace

Teller = Callable[[str, int, int], None]
"""Is told of each piece: its name, its place from 1, how many there are."""


def tell_nobody(piece: str, place: int, count: int) -> None:
    """Take no notice of a piece."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A window that is asked for, or a payload that holds rows of the range."""

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
    run: Runner = plain,
    tell: Teller = tell_nobody,
) -> BackfillResult:
    """Take in the observations of [since, until] as history, piece by piece; finished pieces are not repeated.

    A source that is asked by time is asked month by month; of others each payload is a piece. Part k of n takes every
    n-th piece from the k-th on. Whatever the order, the parts and the interruptions, the table becomes the same, as
    long as payloads do not contradict each other; of those that do, the last one taken in holds.

    Raises:
        UsageError: the range is empty, or there is no such part.
        SourceError: the source cannot be reached; what was finished stays.
    """
    at = at or datetime.now(UTC)
    first, parts = part
    if until < since:
        raise UsageError(f"until: {until:%Y-%m-%d %H:%M} is before since, {since:%Y-%m-%d %H:%M}; swap them")
    if not 1 <= first <= parts:
        raise UsageError(f"part: {first}/{parts} is no part; write 1/{parts} to {parts}/{parts}")
    feed = ws.feed
    pieces = list(_pieces(feed, since, until, at, run))[first - 1 :: parts]
    finished = feed.receipts_for(since, until)
    taken: list[PayloadResult] = []
    repeated = 0
    for place, piece in enumerate(pieces, 1):
        tell(piece.name, place, len(pieces))
        if piece.name in finished:
            repeated += 1
            continue
        done = list(_take(piece, feed, at, run))
        taken += done
        if piece.received is None and all(one.fault is None for one in done):  # a payload has a receipt of its own
            finished.write(piece.name, {"at": at.isoformat(), "payloads": len(done)})
    return BackfillResult(
        product=ws.product.name,
        since=since,
        until=until,
        part=part,
        pieces=len(pieces),
        repeated=repeated,
        **dict(described(feed, taken)),
    )


def _pieces(feed: OpenFeed, since: datetime, until: datetime, at: datetime, run: Runner) -> Iterator[Piece]:
    if feed.source.about.supports_time_range:
        for begin, end in months(since, until):
            yield Piece(f"{begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}", begin, end)
        return
    for received in run(fetch_payloads, feed, at=at, since=since, until=until, again=True):
        yield Piece(received.digest or received.name, since, until, received)


def _take(piece: Piece, feed: OpenFeed, at: datetime, run: Runner) -> Iterator[PayloadResult]:
    received = [piece.received] if piece.received else None
    if received is None:
        received = run(fetch_payloads, feed, at=at, since=piece.since, until=piece.until, again=True)
    for one in received:
        yield run(ingest_payload, one, feed, at=at, since=piece.since, until=piece.until)
