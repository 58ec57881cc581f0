"""Checking a product before anything runs: the file, its models, its locations, a first look at its sources."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import Feed, Settings, load_product
from pipeline.config.base import format_duration
from pipeline.errors import ContractError, NoDataError, SourceError
from pipeline.features.windows import make_task
from pipeline.ingest.feed import OpenFeed
from pipeline.ingest.quality.checks import check_rows
from pipeline.ingest.quality.contract import check_quality
from pipeline.ingest.sources.base import About
from pipeline.training.fit import check_candidates
from pipeline.workspace import Workspace


def check_product(path: Path, settings: Settings, *, at: datetime) -> dict[str, str]:
    """Return what is right about a product file, in words; nothing is stored.

    Raises:
        ConfigError: a mistake in the file or in its list of stations, or a secret that is not set.
        SourceError: a source cannot be reached or its first payload cannot be read.
        NoDataError: a source has nothing to give.
    """
    product = load_product(path)
    ws = Workspace(product, settings)
    cadence = ws.cadence
    unfit = check_candidates(product, make_task(product, cadence, ws.feed.locations))
    issue = cadence.latest_issue(at)
    first = cadence.lead_times(issue)[0]
    found = {"product": ", ".join(filter(None, (product.name, product.title)))}
    for feed in ws.feeds:
        check_quality(feed.spec)
        for fact, told in _look(feed, at, archive=product.feed.mode == "archive"):
            name = f"{feed.spec.name}: {fact}" if feed.spec.is_covariate else fact
            found[name] = f"{found[name]}; {told}" if name in found else told
    if unfit:
        found["left out"] = "; ".join(unfit.values())
    rests, tells = format_duration(issue - cadence.origin(issue)), format_duration(first - issue)
    return found | {
        "schedule": f"an issue at {issue:%H:%M} UTC rests on values of {rests} before it and tells "
        f"{product.forecast.horizon} steps from {tells} after it",
    }


def _look(feed: OpenFeed, at: datetime, *, archive: bool) -> list[tuple[str, str]]:
    """Return facts of a feed, of which the first payload is one; `archive` says whether the observations have ended."""
    spec, locations = feed.spec, feed.locations
    where = f"{locations.shape[0]} x {locations.shape[1]} cells" if locations.shape else f"{len(locations)} stations"
    source = feed.source
    recent = source.about.supports_time_range and spec.mode == "live"
    since, until = (at - spec.lookback, at) if recent else (None, None)
    payload = next(islice(source.fetch(since, until, at=at), 1), None)
    if payload is None:
        if recent and archive:
            asked = f"nothing to give of the last {format_duration(spec.lookback)}"
            remedy = "set mode: archive, as the product's feed does, if it is an archive that has ended"
            raise NoDataError(f"{feed.title}: the source has {asked}; {remedy}")
        raise NoDataError(f"{feed.title}: the source has nothing to give; look at its window and its path")
    if isinstance(payload, SourceError):
        raise payload
    decoded = source.decode(payload)
    told = [("locations", where), ("source", f"{spec.source.kind}{_declared(source.about)}")]
    told.append(("first payload", f"{payload.name}: {decoded.rows.num_rows:,} rows readable"))
    refused = decoded.refused
    if decoded.rows.num_rows:
        checked = check_rows(decoded.rows, spec, locations, now=at, live=False)
        refused = pa.concat_tables([refused, checked.refused])
        told += [("values", _range(spec, name, checked.accepted)) for name in spec.variables]
        told += [("note", note) for note in checked.warnings]
        readable = checked.accepted.num_rows
    else:
        readable = 0
    if refused.num_rows and not readable:
        raise ContractError(
            f"{feed.title}: {payload.name}: all {refused.num_rows:,} rows are refused: {_first(refused)}"
        )
    if refused.num_rows:
        told.append(("refused", f"{refused.num_rows:,} rows, e.g. {_first(refused)}"))
    return [*told, *(("note", note) for note in decoded.notes)]


def _first(refused: pa.Table) -> str:
    return str(refused["reason"][0].as_py())


def _range(feed: Feed, name: str, rows: pa.Table) -> str:
    units, bounds = feed.variable(name)[0], pc.min_max(rows[name])
    low, high = bounds["min"].as_py(), bounds["max"].as_py()
    return f"{name} none" if low is None else f"{name} {low:g} to {high:g} {units}".removesuffix(" 1")


def _declared(about: About) -> str:
    facts = []
    if about.supports_time_range:
        facts.append("asked by time")
    if about.delay is not None:
        facts.append(f"usually {format_duration(about.delay)} late")
    if about.archive is not None:
        facts.append(f"keeps {format_duration(about.archive)}")
    if about.secrets:
        facts.append(f"secrets {', '.join(about.secrets)}")
    return "".join(f", {fact}" for fact in facts)
