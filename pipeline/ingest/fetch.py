"""Fetching: what to ask of a source, and its payloads kept as they came."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipeline.config import Feed, Settings
from pipeline.errors import SourceError
from pipeline.ingest.sources.base import Source
from pipeline.ingest.sources.registry import open_source
from pipeline.locations import read_locations
from pipeline.store.last_payloads import LastPayloads
from pipeline.store.layout import FeedLayout
from pipeline.store.observations import Observations
from pipeline.store.progress import Progress, Window
from pipeline.store.raw import RawStore
from pipeline.store.receipts import Receipts
from pipeline.times import months


@dataclass(frozen=True, slots=True)
class Received:
    """A payload in the raw store, or why it could not be had."""

    name: str
    digest: str = ""
    fault: SourceError | None = None
    known: bool = False
    """Whether it is what was last taken in under this name: then it tells nothing that is newer than what is stored."""


def windows_to_ask(feed: Feed, settings: Settings, *, at: datetime) -> list[Window]:
    """Return what to ask for, month by month: what is new, and the newest again; at first, the history.

    What an earlier run could not have is asked for again. A source that is not asked by time has one open window.
    """
    source = _source(feed, settings)
    if not source.about.windowed:
        return [(None, None)]
    until = None if feed.name else at  # covariates tell of times to come
    reached, newest = progress_of(feed, settings).read(), Observations.of(feed, settings).newest()
    history = feed.history or source.about.archive
    if reached.until is not None:
        since: datetime | None = min(reached.until, newest or reached.until, at) - feed.lookback
    else:
        since = at - history if history else None
    if since is None:
        return [*reached.missed, (None, until)]
    windows: list[Window] = list(months(since, at))
    windows[-1] = (windows[-1][0], until)
    return [*(missed for missed in reached.missed if missed not in windows), *windows]


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

    A payload was taken in before when it is the last one of its name, for the feed as it is described now. With
    `again`, such are looked at once more.

    Raises:
        SourceError: the source cannot be reached at all.
        StoreError: what is fetched could not be kept; nothing is asked for.
    """
    layout = FeedLayout.of(feed, settings)
    for place in (layout.raw, layout.observations):
        place.check_writable()
    taken, deliveries, raw = receipts_of(feed, settings), LastPayloads(layout.receipts), RawStore(layout.raw)
    received = []
    for payload in _source(feed, settings).fetch(since, until, at=at):
        if isinstance(payload, SourceError):
            received.append(Received(str(payload), fault=payload))
            continue
        known = deliveries.last(payload.name) == payload.digest
        if again or not known or payload.digest not in taken:
            raw.put(payload)
            received.append(Received(payload.name, payload.digest, known=known))
    return received


def receipts_of(
    feed: Feed, settings: Settings, since: datetime | None = None, until: datetime | None = None
) -> Receipts:
    """Return the receipts of payloads taken in, as far as a window goes.

    A receipt holds for the feed as it was described then: what a mistake in the product file refused is read again.
    """
    window = f" {since} {until}" if since or until else ""
    return Receipts(FeedLayout.of(feed, settings).receipts, _described(feed, "quality") + window)


def progress_of(feed: Feed, settings: Settings) -> Progress:
    """Return where a feed stands, for what it is about now."""
    return Progress(FeedLayout.of(feed, settings).receipts, _described(feed, "history"))


def is_asked_by_time(feed: Feed, settings: Settings) -> bool:
    """Return whether the source of a feed is asked by time."""
    return _source(feed, settings).about.windowed


def _described(feed: Feed, *further: str) -> str:
    """What payloads mean, as the product file has it; a field that is new and not used changes nothing."""
    fields = {"source", "step", "locations", "variables", *further}
    only_models = {"locations": {"static"}}
    locations = read_locations(feed)
    where = "" if locations.shape else ",".join(locations.ids)
    return f"{feed.model_dump_json(include=fields, exclude=only_models, exclude_defaults=True)} {where}"


def _source(feed: Feed, settings: Settings) -> Source:
    return open_source(feed, read_locations(feed), settings.secrets)
