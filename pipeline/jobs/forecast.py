"""The job `forecast`: forecast an issue time with the champion, or the best fallback, and publish the forecast."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from pathlib import Path

from pipeline.errors import UsageError
from pipeline.fallback_level import FallbackLevel
from pipeline.forecasting.notes import describe_note
from pipeline.forecasting.predict import issue_forecast
from pipeline.forecasting.publish.published_forecast import PublishedForecast
from pipeline.forecasting.publish.report_context import missing_locations, read_report_context
from pipeline.forecasting.publish.report_data import ReportContext
from pipeline.forecasting.publish.write import publish
from pipeline.jobs.clock import now_of
from pipeline.jobs.job import Result, Runner, call
from pipeline.steps import calendar_name
from pipeline.workspace import Workspace


class ForecastResult(Result):
    """One published forecast."""

    issue_time: datetime
    fallback_level: FallbackLevel
    """0 champion, 1 champion with gaps, 2 champion on stale input, 3 baseline, 4 climatology."""
    model: str
    version: int | None
    digest: str
    input_age_hours: float
    """Issue time minus the newest valid time used, in hours."""
    missing: tuple[str, ...]
    """Stations without a value in the newest frame."""
    folder: Path
    """Where it is published."""
    repeated: bool
    """Whether this issue time had been published before, so that nothing was done."""
    periods: tuple[str, ...] = ()
    """Names of the periods that it forecasts, such as March 2024, if the feed's step is a calendar step."""
    notes: tuple[str, ...] = ()
    """Why better fallback levels were not used."""


def forecast(
    ws: Workspace,
    *,
    at: datetime | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    run: Runner = call,
) -> list[ForecastResult]:
    """Forecast and publish the latest issue time, or every one in [since, until]. An issue time is published once.

    Raises:
        NoDataError: nothing was known at the issue time.
        UsageError: the range contains no issue time.
        ContractError: no forecast passed the output checks, not even climatology.
    """
    now, cadence = now_of(ws, at), ws.cadence
    if since is None and until is None:
        issues = [cadence.latest_issue(now)]
    else:
        if since is None:
            raise UsageError("until: needs since, the start of the range")
        last = min(until or now, now)
        issues = list(cadence.issues(since, last))
        if not issues:
            span = f"{since:%Y-%m-%d %H:%M} and {last:%Y-%m-%d %H:%M} UTC"
            raise UsageError(f"{ws.product.name}: no issue time between {span}; see schedule.forecast")
    return [_forecast_one(ws, issue_time, run) for issue_time in issues]


def _forecast_one(ws: Workspace, issue_time: datetime, run: Runner) -> ForecastResult:
    product, feed, store = ws.product, ws.feed, ws.forecasts
    fresh = False
    if not store.read(issue_time).num_rows:
        issued = run(issue_forecast, product, ws.cadence, feed, ws.covariates, ws.bundles, issue_time, ws.ledger)
        fresh = store.add(issue_time, issued.rows)
    # The stored rows are what is published: after a kill between the two, a repeated run publishes the same forecast.
    forecast = PublishedForecast.from_rows(product, feed.locations, store.read(issue_time))

    @cache
    def context() -> ReportContext:
        return read_report_context(
            forecast,
            ws.cadence,
            feed,
            ws.covariates,
            scores=ws.scores,
            ledger=ws.ledger,
            bundles=ws.layout.models,
        )

    folder, new = run(publish, forecast, context, ws.layout.published)
    return ForecastResult(
        product=product.name,
        issue_time=issue_time,
        fallback_level=forecast.fallback_level,
        model=forecast.model,
        version=forecast.version,
        digest=forecast.digest,
        input_age_hours=forecast.input_age_hours,
        missing=missing_locations(forecast, ws.cadence, feed.observations),
        folder=folder,
        repeated=not (fresh or new),
        periods=tuple(filter(None, (calendar_name(time, product.feed.step) for time in forecast.valid_times))),
        notes=tuple(map(describe_note, forecast.notes)),
    )
