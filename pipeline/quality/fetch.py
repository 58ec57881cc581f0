"""Fetching: what to ask of a source, and its payloads kept as they came."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime

from pipeline.config import Feed, Settings
from pipeline.errors import SourceError
from pipeline.locations import read_locations
from pipeline.sources.base import Source
from pipeline.sources.registry import open_source
from pipeline.store.layout import FeedLayout
from pipeline.store.observations import Observations
from pipeline.store.progress import Progress
from pipeline.store.raw import RawStore
from pipeline.store.receipts import Receipts
from pipeline.times import months

Window = tuple[datetime | None, datetime | None]
"""First and last valid time of interest; None is open."""


@dataclass(frozen=True, slots=True)
class Received:
    """A payload in the raw store, or why it could not be had."""

    name: str
    digest: str = ""
    fault: SourceError | None = None


def windows_to_ask(feed: Feed, settings: Settings, *, at: datetime) -> list[Window]:
    """Return what to ask for, month by month: what is new, and the newest again; at first, the history.

    What an earlier run could not have is asked for again. A source that is not asked by time has one open window.
    """
    source = _source(feed, settings)
    if not source.about.windowed:
        return [(None, None)]
    until = None if feed.name else at  # covariates tell of times to come
    reached, newest = _progress(feed, settings).read(), Observations.of(feed, settings).newest()
    history = feed.history or source.about.archive
    if reached is not None:
        since: datetime | None = min(reached, newest or reached, at) - feed.lookback
    else:
        since = at - history if history else None
    if since is None:
        return [(None, until)]
    windows: list[Window] = list(months(since, at))
    windows[-1] = (windows[-1][0], until)
    return windows


def fetch_payloads(
    feed: Feed,
    settings: Settings,
    *,
    at: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
    again: bool = False,
) -> list[Received]:
    """Fetch what was not taken in before and keep it as it came; only names and digests stay in memory.

    With `again`, payloads taken in before are looked at once more.

    Raises:
        SourceError: the source cannot be reached at all.
        StoreError: what is fetched could not be kept; nothing is asked for.
    """
    layout = FeedLayout.of(feed, settings)
    for place in (layout.raw, layout.observations):
        place.check_writable()
    seen: Container[str] = frozenset() if again else receipts_of(feed, settings)
    raw = RawStore(layout.raw)
    received = []
    for payload in _source(feed, settings).fetch(seen, since, until, at=at):
        if isinstance(payload, SourceError):
            received.append(Received(str(payload), fault=payload))
        else:
            raw.put(payload)
            received.append(Received(payload.name, payload.digest))
    return received


def receipts_of(
    feed: Feed, settings: Settings, since: datetime | None = None, until: datetime | None = None
) -> Receipts:
    """Return the receipts of payloads taken in, as far as a window goes.

    A receipt holds for the feed as it was described then: what a mistake in the product file refused is read again.
    """
    locations = read_locations(feed)
    where = "" if locations.shape else ",".join(locations.ids)
    window = f" {since} {until}" if since or until else ""
    return Receipts(FeedLayout.of(feed, settings).receipts, f"{feed.model_dump_json()} {where}{window}")


def note_progress(feed: Feed, settings: Settings, until: datetime) -> None:
    """Keep that a source that is asked by time need not be asked again for what is before an instant."""
    if _source(feed, settings).about.windowed:
        _progress(feed, settings).reach(until)


def _progress(feed: Feed, settings: Settings) -> Progress:
    """How far the source has been asked for what the feed is about now."""
    asked_for = feed.model_dump_json(include={"source", "step", "locations", "variables", "history"})
    return Progress(FeedLayout.of(feed, settings).receipts, asked_for)


def _source(feed: Feed, settings: Settings) -> Source:
    return open_source(feed, read_locations(feed), settings.secrets)
