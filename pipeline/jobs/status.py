"""How a product is: fresh, late or broken, and why."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import pyarrow.compute as pc

from pipeline.errors import NoDataError
from pipeline.fallback_level import FallbackLevel
from pipeline.forecasting.publish.write import LATEST
from pipeline.forecasting.verification.scores import by_lead, skill
from pipeline.jobs.clock import now_of
from pipeline.registry.tracking import TrackingError
from pipeline.results import StatusResult
from pipeline.workspace import Workspace

SLACK = timedelta(hours=1)
"""How long after it is due a forecast, or a value where steps are that long, may come before the product is late."""


def status(ws: Workspace, *, at: datetime | None = None) -> StatusResult:
    """Return how a product is at an instant; needs no server, and tells when the registry cannot be reached.

    Raises:
        NoDataError: it was never ingested.
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
    trouble = _damage(ws)
    try:
        champion = ws.registry.by_alias("champion")
    except TrackingError as error:
        champion = None
        trouble.append(str(error))
    state, reason = _judge(ws, now, newest, last, level, trouble)
    page = ws.layout.published / LATEST / "report.html"
    return StatusResult(
        product=product.name,
        now=now,
        state=state,
        reason=reason,
        home=ws.settings.home,
        observations=observations.count(),
        newest=newest,
        refused=sum(feed.quarantine.open_rows().num_rows for feed in ws.feeds),
        champion=champion.version if champion else None,
        model=champion.model if champion else None,
        last_issue=last,
        fallback_level=level,
        page=page if page.is_file() else None,
        skill=skill(by_lead(ws.scores.read())),
    )


def _damage(ws: Workspace) -> list[str]:
    """What is wrong with the newest commit of a table, as far as a look at the log tells."""
    tables = [feed.observations.table for feed in ws.feeds]
    tables += [ws.forecasts.table, ws.scores.table]
    return [f"{table.uri}: {table.fault}; run `nightcast maintain`" for table in tables if table.fault]


def _judge(
    ws: Workspace,
    now: datetime,
    newest: datetime,
    last: datetime | None,
    level: FallbackLevel | None,
    trouble: list[str],
) -> tuple[Literal["fresh", "late", "broken"], str]:
    cadence = ws.cadence
    due = cadence.latest_issue(now - SLACK)
    behind = max(0, (cadence.origin(now - min(SLACK, cadence.step)) - newest) // cadence.step)
    if trouble:
        return "broken", trouble[0]
    if last is None:
        return "broken", "nothing was forecast yet; run `nightcast forecast`"
    if behind > ws.product.forecast.context:
        return "broken", f"the newest value is {behind} steps behind, more than the models see"
    if level is not None and level >= FallbackLevel.BASELINE:
        return "broken", "the last forecast was made without a champion"
    if last < due:
        return "late", f"the forecast of {due:%Y-%m-%d %H:%M} UTC is missing"
    if level == FallbackLevel.CHAMPION_ON_STALE_INPUT:
        return "late", "the last forecast rests on stale input"
    if behind > 0:
        return "late", f"the newest value is {behind} step{'s' if behind > 1 else ''} behind"
    return "fresh", "data and forecast are up to date"
