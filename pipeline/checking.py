"""Checking a product before anything runs: the file, its models, its locations, a first look at its sources."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from pathlib import Path

from pipeline.config import Feed, Settings, load_product
from pipeline.config.base import format_duration
from pipeline.errors import NoDataError, SourceError
from pipeline.locations import read_locations
from pipeline.quality.contract import check_quality
from pipeline.sources.base import About
from pipeline.sources.registry import open_source
from pipeline.times import Cadence
from pipeline.training.fit import check_candidates


def check_product(path: Path, settings: Settings, *, at: datetime) -> dict[str, str]:
    """Return what is right about a product file, in words; nothing is stored.

    Raises:
        ConfigError: a mistake in the file or in its list of stations, or a secret that is not set.
        SourceError: a source cannot be reached or its first payload cannot be read.
        NoDataError: a source has nothing to give.
    """
    product = load_product(path)
    check_candidates(product)
    cadence = Cadence.of(product)
    issue = cadence.latest_issue(at)
    first = cadence.lead_times(issue)[0]
    found = {"product": f"{product.name}, {product.title}"}
    for feed in product.feeds:
        check_quality(feed)
        found |= {f"{feed.name}: {fact}" if feed.name else fact: told for fact, told in _look(feed, settings, at)}
    rests, tells = format_duration(issue - cadence.origin(issue)), format_duration(first - issue)
    return found | {
        "schedule": f"an issue at {issue:%H:%M} UTC rests on values of {rests} before it and tells "
        f"{product.forecast.horizon} steps from {tells} after it",
    }


def _look(feed: Feed, settings: Settings, at: datetime) -> list[tuple[str, str]]:
    """Return facts of a feed, of which the first payload is one."""
    locations = read_locations(feed)
    where = f"{locations.shape[0]} x {locations.shape[1]} cells" if locations.shape else f"{len(locations)} stations"
    source = open_source(feed, locations, settings.secrets)
    recent = source.about.windowed and feed.clock == "wall"
    since, until = (at - feed.lookback, at) if recent else (None, None)
    payload = next(islice(source.fetch(frozenset(), since, until, at=at), 1), None)
    if payload is None:
        raise NoDataError(f"{feed.title}: the source has nothing to give; look at its window and its path")
    if isinstance(payload, SourceError):
        raise payload
    decoded = source.decode(payload)
    told = [("locations", where), ("source", f"{feed.source.kind}{_declared(source.about)}")]
    told.append(("first payload", f"{payload.name}: {decoded.rows.num_rows:,} rows readable"))
    if decoded.refused.num_rows:
        told.append(("refused", f"{decoded.refused.num_rows:,} rows, e.g. {decoded.refused['reason'][0].as_py()}"))
    return [*told, *(("note", note) for note in decoded.notes)]


def _declared(about: About) -> str:
    facts = []
    if about.windowed:
        facts.append("asked by time")
    if about.delay is not None:
        facts.append(f"usually {format_duration(about.delay)} late")
    if about.archive is not None:
        facts.append(f"keeps {format_duration(about.archive)}")
    if about.secrets:
        facts.append(f"secrets {', '.join(about.secrets)}")
    return "".join(f", {fact}" for fact in facts)
