"""Fetching: what to ask of a source, and its payloads kept as they came."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipeline.errors import SourceError
from pipeline.ingest.feed import OpenFeed
from pipeline.store.progress import Window
from pipeline.times import months


@dataclass(frozen=True, slots=True)
class Received:
    """A payload in the raw store, or why it could not be had."""

    name: str
    digest: str = ""
    fault: SourceError | None = None
    known: bool = False
    """Whether it is what was last taken in under this name: then it tells nothing that is newer than what is stored."""


def windows_to_ask(feed: OpenFeed, *, at: datetime) -> list[Window]:
    """Return what to ask for, month by month: what is new, and the newest again; at first, the history.

    What an earlier run could not have is asked for again. A source that is not asked by time has one open window.
    """
    about, spec = feed.source.about, feed.spec
    if not about.supports_time_range:
        return [(None, None)]
    until = None if spec.is_covariate else at  # covariates tell of times to come
    reached, newest = feed.progress.read(), feed.observations.newest()
    history = spec.history or about.archive
    if reached.until is not None:
        since: datetime | None = min(reached.until, newest or reached.until, at) - spec.lookback
    else:
        since = at - history if history else None
    if since is None:
        return [*reached.missed, (None, until)]
    windows: list[Window] = list(months(since, at))
    windows[-1] = (windows[-1][0], until)
    return [*(missed for missed in reached.missed if missed not in windows), *windows]


def fetch_payloads(
    feed: OpenFeed,
    *,
    at: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
    again: bool = False,
) -> list[Received]:
    """Fetch what was not taken in before and keep it as it came; only names and digests stay in memory.

    A payload was taken in before when it is the last one of its name, for the feed as it is described now. With
    `again`, such are looked at once more.

    Raises:
        SourceError: the source cannot be reached at all.
        StoreError: what is fetched could not be kept; nothing is asked for.
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
