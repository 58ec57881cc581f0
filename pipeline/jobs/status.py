"""The job `status`: whether a product is fresh, late or broken, and why."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import NightcastError, NoDataError
from pipeline.fallback_level import FallbackLevel
from pipeline.forecasting.notes import decode_notes
from pipeline.forecasting.publish.write import LATEST
from pipeline.forecasting.verification.scores import PUBLISHED, scores_by_lead, skill_scores
from pipeline.jobs.clock import now_of
from pipeline.jobs.job import Result
from pipeline.jobs.verify import LiveStatus
from pipeline.registry.standing import LiveVerdict, Standing, describe_live_verdict, standing_at
from pipeline.registry.tracking import TrackingError
from pipeline.steps import between, calendar_name, mean_length
from pipeline.workspace import Workspace

State = Literal["fresh", "late", "broken"]

TOLERANCE = timedelta(hours=1)
"""A forecast may come this long after it is due before the product counts as late; so may a value, up to one step."""


class StatusResult(Result):
    """Whether a product is fresh, late or broken, and the facts behind it."""

    now: datetime
    state: State
    reason: str
    home: Path
    observations: int
    newest: datetime | None
    newest_period: str | None = None
    """Name of the period that ends then, such as March 2024, if the feed's step is a calendar step."""
    refused: int
    """Rows in quarantine."""
    champion: int | None
    model: str | None
    last_issue: datetime | None
    fallback_level: FallbackLevel | None
    """Of the last forecast."""
    page: Path | None
    scored: int = 0
    """Values of the published forecasts that were scored."""
    skill: dict[str, float]
    """CRPS skill of published forecasts against each baseline, over all leads; each variable has the same weight."""
    live: LiveStatus
    """What serves, as live verdicts have it."""


def status(ws: Workspace, *, at: datetime | None = None) -> StatusResult:
    """Return the state of a product at an instant; if the registry cannot be reached, the product is broken.

    Raises:
        NoDataError: nothing was ever ingested.
    """
    product, observations = ws.product, ws.feed.observations
    newest = observations.newest()
    if newest is None:
        raise NoDataError(f"{product.name}: no observations in {ws.settings.home}; run `nightcast ingest` first")
    now = now_of(ws, at)
    issues = [issue for issue in ws.forecasts.issue_times() if issue <= now]
    last = issues[-1] if issues else None
    rows = ws.forecasts.read(last).filter(pc.field("published")) if last else None
    level = FallbackLevel(rows["rung"][0].as_py()) if rows is not None else None
    problems = _damage(ws)
    try:
        champion = ws.registry.by_alias("champion")
    except TrackingError as error:
        champion = None
        problems.append(str(error))
    try:
        standing = standing_at(ws.ledger, now)
    except (NightcastError, ValueError) as error:  # damage to the table, or a live verdict of a later release
        standing = Standing()
        problems.append(str(error))
    state, reason = assess(ws, now, newest, last, level, problems, _live_verdicts(rows))
    page = ws.layout.published / LATEST / "report.html"
    scores = ws.scores.read(until=now)
    return StatusResult(
        product=product.name,
        now=now,
        state=state,
        reason=reason,
        home=ws.settings.home,
        observations=observations.count(),
        newest=newest,
        newest_period=calendar_name(newest, product.feed.step),
        refused=sum(feed.quarantine.open_rows().num_rows for feed in ws.feeds),
        champion=champion.version if champion else None,
        model=champion.model if champion else None,
        last_issue=last,
        fallback_level=level,
        page=page if page.is_file() else None,
        scored=int(scores.loc[scores["model"] == PUBLISHED, "count"].sum()),
        skill=skill_scores(scores_by_lead(scores)),
        live=LiveStatus.of(standing),
    )


def assess(
    ws: Workspace,
    now: datetime,
    newest: datetime,
    last: datetime | None,
    level: FallbackLevel | None,
    problems: list[str],
    verdicts: Sequence[LiveVerdict] = (),
) -> tuple[State, str]:
    """Return the state of a product and the reason.

    Args:
        ws: The product.
        now: The instant.
        newest: Its newest valid time.
        last: Issue time of the last forecast.
        level: Fallback level of the last forecast.
        problems: Known problems.
        verdicts: Live verdicts that decided what made the last forecast.
    """
    cadence = ws.cadence
    due = cadence.latest_issue(now - TOLERANCE)
    tolerance = min(TOLERANCE, mean_length(cadence.step))
    behind = max(0, between(newest, cadence.origin(now - tolerance), cadence.step))
    if problems:
        return "broken", problems[0]
    if last is None:
        return "broken", "nothing was forecast yet; run `nightcast forecast`"
    if behind > ws.product.forecast.context:
        return "broken", f"the newest value is {behind} steps behind, more than the models see"
    stepped_down = any(one.kind == "worse_than_baseline" for one in verdicts)
    if level is not None and level >= FallbackLevel.BASELINE and not stepped_down:
        return "broken", "the last forecast was made without a champion"
    if last < due:
        return "late", f"the forecast of {due:%Y-%m-%d %H:%M} UTC is missing"
    if level == FallbackLevel.CHAMPION_ON_STALE_INPUT:
        return "late", "the last forecast was made from stale input"
    if behind > 0:
        return "late", f"the newest value is {behind} step{'s' if behind > 1 else ''} behind"
    return "fresh", "; ".join(["data and forecast are up to date", *map(describe_live_verdict, verdicts)])


def _live_verdicts(rows: pa.Table | None) -> tuple[LiveVerdict, ...]:
    """Return the live verdicts in the notes of a forecast."""
    notes = decode_notes(rows["notes"][0].as_py()) if rows is not None and rows.num_rows else ()
    return tuple(note.verdict for note in notes if note.verdict is not None)


def _damage(ws: Workspace) -> list[str]:
    """Return the damage to the newest commit of each table, as far as the log alone shows it."""
    tables = [ws.forecasts.table, ws.scores.table, ws.live_scores.table, ws.ledger.table]
    for feed in ws.feeds:
        tables += [feed.observations.table, feed.quarantine.table, feed.quarantine.decisions]
    return [f"{table.uri}: {table.fault}; run `nightcast maintain`" for table in tables if table.fault]
