"""Fetching: the time ranges to query, and payloads stored as received."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipeline.errors import SourceError
from pipeline.ingest.feed import OpenFeed
from pipeline.store.progress import TimeRange
from pipeline.times import months


@dataclass(frozen=True, slots=True)
class Received:
    """A payload in the raw store, or the error that kept it from being fetched."""

    name: str
    digest: str = ""
    fault: SourceError | None = None
    known: bool = False
    """Whether the last payload ingested under this name was the same: then nothing in it is newer than the store."""


def time_ranges_to_query(feed: OpenFeed, *, at: datetime) -> list[TimeRange]:
    """Return the time ranges to query, month by month: on the first run the history, later what is new.

    The newest values (`lookback`) and the ranges that failed in an earlier run are queried again. A source that cannot
    be queried by time has a single open range.
    """
    about, spec = feed.source.about, feed.spec
    if not about.supports_time_range:
        return [(None, None)]
    until = None if spec.is_covariate else at  # covariates have valid times in the future
    reached, newest = feed.progress.read(), feed.observations.newest()
    history = spec.history or about.archive
    if reached.until is not None:
        since: datetime | None = min(reached.until, newest or reached.until, at) - spec.lookback
    else:
        since = at - history if history else None
    if since is None:
        return [*reached.missed, (None, until)]
    ranges: list[TimeRange] = list(months(since, at))
    ranges[-1] = (ranges[-1][0], until)
    return [*(missed for missed in reached.missed if missed not in ranges), *ranges]


def fetch_payloads(
    feed: OpenFeed,
    *,
    at: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
    again: bool = False,
) -> list[Received]:
    """Fetch new payloads and store them as received; only their names and digests stay in memory.

    A payload is not new if it is the last one ingested under its name, for the feed as it is described now. With
    `again`, such payloads are returned too.

    Raises:
        SourceError: the source cannot be reached at all.
        StoreError: a store is not writable; in that case nothing is fetched.
    """
    for store in (feed.layout.raw, feed.layout.observations):
        store.check_writable()
    received = []
    for payload in feed.source.fetch(since, until, at=at):
        if isinstance(payload, SourceError):
            received.append(Received(str(payload), fault=payload))
            continue
        known = feed.last_payloads.get(payload.name) == payload.digest
        if again or not known or payload.digest not in feed.receipts:
            feed.raw.put(payload)
            received.append(Received(payload.name, payload.digest, known=known))
    return received
