"""The command `check`: validate a product before anything runs, and try to read its sources."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import Feed
from pipeline.config.base import format_duration
from pipeline.config.steps import format_step
from pipeline.errors import ConfigError, ContractError, NoDataError, SourceError
from pipeline.features.windows import make_task
from pipeline.ingest.feed import OpenFeed
from pipeline.ingest.quality.checks import check_rows
from pipeline.ingest.quality.contract import check_quality
from pipeline.ingest.quality.step_fit import find_misfit, fitting_step
from pipeline.ingest.sources.base import About
from pipeline.steps import add, describe, mean_length, period_name
from pipeline.training.fit import check_candidates
from pipeline.training.folds import divide
from pipeline.training.verdict import FEW_CASES, FEWEST_CASES
from pipeline.workspace import Workspace

_WARNINGS = ("cannot train", "not checked", "refused", "left out")


def is_warning(name: str) -> bool:
    """Return whether the fact of this name, of the product or of a covariate, calls for an action."""
    return name.rpartition(": ")[2] in _WARNINGS


def check_product(ws: Workspace, *, at: datetime) -> dict[str, str]:
    """Return facts about a valid product, by name; nothing is stored.

    Raises:
        ConfigError: a mistake in the product file or in its list of locations, a secret that is not set, or a step with
            which most rows of the first payload would be refused.
        SourceError: a source cannot be reached, or its first payload cannot be read.
        NoDataError: a source has no data.
        ContractError: the first payload of a source has no row that would be accepted.
    """
    product, cadence = ws.product, ws.cadence
    unsuitable = check_candidates(product, make_task(product, cadence, ws.feed.locations))
    issue = cadence.latest_issue(at)
    facts = {"product": ", ".join(filter(None, (product.name, product.title)))}
    for feed in ws.feeds:
        check_quality(feed.spec)
        found, span = _read_first_payload(feed, at, archive=product.feed.mode == "archive")
        if span and not feed.spec.is_covariate:
            found.append(_describe_folds(ws, *span))
        for fact, value in found:
            name = f"{feed.spec.name}: {fact}" if feed.spec.is_covariate else fact
            facts[name] = f"{facts[name]}; {value}" if name in facts else value
    if unsuitable:
        facts["left out"] = "; ".join(unsuitable.values())
    facts["schedule"] = _describe_schedule(ws, issue)
    return facts


def _describe_schedule(ws: Workspace, issue: datetime) -> str:
    """Return what a forecast of an issue time is based on and what it covers."""
    product, cadence = ws.product, ws.cadence
    origin, leads = cadence.origin(issue), cadence.lead_times(issue)
    if not isinstance(cadence.step, timedelta):
        newest, first, last = (period_name(time, cadence.step) for time in (origin, leads[0], leads[-1]))
        return (
            f"a forecast issued on {issue:%Y-%m-%d at %H:%M} UTC uses values up to {newest} and covers "
            f"{describe(product.forecast.horizon, cadence.step)}, {first}{f' to {last}' if last != first else ''}"
        )
    age, lead = format_duration(issue - origin), format_duration(leads[0] - issue)
    return (
        f"a forecast issued at {issue:%H:%M} UTC uses values up to {age} before and covers "
        f"{product.forecast.horizon} steps, starting {lead} after"
    )


def _describe_folds(ws: Workspace, first: datetime, last: datetime) -> tuple[str, str]:
    """Return what the gate can stand on, with observations of a period, as a fact by its name."""
    product, cadence = ws.product, ws.cadence
    start, now = add(first, product.forecast.context, cadence.step), last + cadence.delay
    try:
        folds = divide(product, cadence, list(cadence.issues(start, now)), now=now)
    except NoDataError as error:
        return "cannot train", f"on the first payload alone; {str(error).removeprefix(f'{product.name}: ')}"
    train, held_out, cases = len(folds.newest.train), len(folds.holdout), folds.cases
    parts = "" if len(folds.folds) == 1 else f" in {len(folds.folds)} folds"
    few = ""
    if cases < FEWEST_CASES:
        few = f", too few for the gate's test: the best baseline serves until there are {FEWEST_CASES}"
    elif cases < FEW_CASES:
        few = ", which is few: only large differences show"
    return "gate", (
        f"trains on {train:,} issue times, compares on {held_out:,} held-out ones{parts}, about {cases:,} independent"
        f"{few}; from the first payload alone"
    )


def _read_first_payload(
    feed: OpenFeed, at: datetime, *, archive: bool
) -> tuple[list[tuple[str, str]], tuple[datetime, datetime] | None]:
    """Return facts of a feed and its first payload, and the period of its rows.

    `archive` says whether the observations have ended.
    """
    spec, locations, source = feed.spec, feed.locations, feed.source
    where = f"{locations.shape[0]} x {locations.shape[1]} cells" if locations.shape else f"{len(locations)} stations"
    recent = source.about.supports_time_range and spec.mode == "live"
    lookback = spec.lookback
    if not isinstance(spec.step, timedelta):  # the newest value may have been due weeks ago
        lookback = max(lookback, spec.delay + 2 * spec.step.longest)
    since, until = (at - lookback, at) if recent else (None, None)
    payload = next(islice(source.fetch(since, until, at=at), 1), None)
    if payload is None:
        if recent and archive:
            raise NoDataError(
                f"{feed.title}: the source has no data of the last {format_duration(lookback)}; set mode: "
                "archive, as the product's feed does, if it is an archive that has ended"
            )
        raise NoDataError(f"{feed.title}: the source has no data; check its time range and its path")
    if isinstance(payload, SourceError):
        raise payload
    decoded = source.decode(payload)
    facts = [("locations", where), ("source", f"{spec.source.kind}{_properties(source.about)}")]
    facts.append(("first payload", f"{payload.name}: {decoded.rows.num_rows:,} rows readable"))
    refused = decoded.refused
    if not decoded.rows.num_rows and not refused.num_rows:
        facts.append(("not checked", "values, step and gate, because the first payload has no rows"))
    readable, span = 0, None
    if decoded.rows.num_rows:
        checked = check_rows(decoded.rows, spec, locations, now=at, live=False)
        if misfit := find_misfit(decoded.rows, checked.refused, spec):
            raise ConfigError(spec.title, "feed.step", misfit.problem, misfit.remedy)
        refused = pa.concat_tables([refused, checked.refused])
        facts += [("values", _range(spec, name, checked.accepted)) for name in spec.variables]
        facts += [("note", note) for note in checked.warnings]
        fits = fitting_step(decoded.rows, spec)
        if fits is not None and mean_length(fits) >= 2 * mean_length(spec.step):
            shown = format_step(fits)
            facts.append(("note", f"the time stamps fit step: {shown}, and feed.step is {format_step(spec.step)}"))
        readable = checked.accepted.num_rows
        if readable:
            bounds = pc.min_max(checked.accepted["valid_time"])
            span = bounds["min"].as_py(), bounds["max"].as_py()
    if refused.num_rows:
        example = str(refused["reason"][0].as_py())
        if not readable:
            raise ContractError(
                f"{feed.title}: {payload.name}: all {refused.num_rows:,} rows are refused, e.g. {example}"
            )
        remedy = "correct the source or the product file; otherwise `nightcast ingest` quarantines them"
        facts.append(("refused", f"{refused.num_rows:,} rows, e.g. {example}; {remedy}"))
    return [*facts, *(("note", note) for note in decoded.notes)], span


def _range(feed: Feed, name: str, rows: pa.Table) -> str:
    units, bounds = feed.variable(name).units, pc.min_max(rows[name])
    low, high = bounds["min"].as_py(), bounds["max"].as_py()
    return f"{name} none" if low is None else f"{name} {low:g} to {high:g} {units}".removesuffix(" 1")


def _properties(about: About) -> str:
    properties = []
    if about.supports_time_range:
        properties.append("queried by time range")
    if about.delay is not None:
        properties.append(f"usually {format_duration(about.delay)} late")
    if about.archive is not None:
        properties.append(f"keeps {format_duration(about.archive)}")
    if about.secrets:
        properties.append(f"secrets {', '.join(about.secrets)}")
    return "".join(f", {one}" for one in properties)
