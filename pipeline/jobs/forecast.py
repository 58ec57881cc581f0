"""The jobs `forecast` and `verify`: from the champion to a published forecast, and from that to its scores."""

from __future__ import annotations

from datetime import datetime
from functools import cache

from pipeline.errors import UsageError
from pipeline.forecasting.predict import issue
from pipeline.forecasting.publish.page import Background
from pipeline.forecasting.publish.report_context import missing_stations, report_context
from pipeline.forecasting.publish.table import arrange
from pipeline.forecasting.publish.write import publish
from pipeline.forecasting.verification.run import score_matured
from pipeline.forecasting.verification.scores import by_lead
from pipeline.jobs.clock import now_of
from pipeline.jobs.runner import Runner, plain
from pipeline.results import ForecastResult, VerifyResult
from pipeline.workspace import Workspace


def forecast(
    ws: Workspace,
    *,
    at: datetime | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    run: Runner = plain,
) -> list[ForecastResult]:
    """Forecast and publish the latest issue time, or every one in [since, until]. An issue time is published once.

    Raises:
        NoDataError: nothing was known at the issue time.
        UsageError: the window holds no issue time.
        ContractError: no model gave a forecast that may be published, not even climatology.
    """
    now, cadence = now_of(ws, at), ws.cadence
    if since is None and until is None:
        issues = [cadence.latest_issue(now)]
    else:
        if since is None:
            raise UsageError("until: needs since, the first instant of the window")
        issues = list(cadence.issues(since, min(until or now, now)))
        if not issues:
            window = f"{since:%Y-%m-%d %H:%M} and {min(until or now, now):%Y-%m-%d %H:%M} UTC"
            raise UsageError(f"{ws.product.name}: no issue time between {window}; see schedule.forecast")
    return [_forecast_one(ws, instant, run) for instant in issues]


def verify(ws: Workspace, *, at: datetime | None = None, run: Runner = plain) -> VerifyResult:
    """Score every matured forecast; a second call changes nothing."""
    now = now_of(ws, at)
    observations = ws.feed.observations
    due, scored = run(score_matured, ws.product, ws.cadence, ws.forecasts, observations, ws.scores, at=now)
    table = by_lead(ws.scores.read())
    return VerifyResult(product=ws.product.name, at=now, forecasts=due, scored=scored, scores=table)


def _forecast_one(ws: Workspace, issue_time: datetime, run: Runner) -> ForecastResult:
    product, feed, store = ws.product, ws.feed, ws.forecasts
    fresh = False
    if not store.read(issue_time).num_rows:
        issued = run(issue, product, ws.cadence, feed, ws.covariates, ws.bundles, issue_time)
        fresh = store.add(issue_time, issued.rows)
    # What is published is made from the stored rows: after a kill between the two, the same forecast appears.
    forecast = arrange(product, feed.locations, store.read(issue_time))

    @cache
    def context() -> Background:
        bundles = ws.layout.models
        return report_context(forecast, ws.cadence, feed, scores=ws.scores, ledger=ws.ledger, bundles=bundles)

    folder, new = run(publish, forecast, context, ws.layout.published)
    return ForecastResult(
        product=product.name,
        issue_time=issue_time,
        fallback_level=forecast.fallback_level,
        model=forecast.model,
        version=forecast.version,
        digest=forecast.digest,
        input_age_hours=forecast.input_age_hours,
        missing=missing_stations(forecast, ws.cadence, feed.observations),
        folder=folder,
        repeated=not (fresh or new),
        notes=tuple(note for note in forecast.notes.split("; ") if note),
    )
