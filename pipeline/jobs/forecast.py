"""The jobs `forecast` and `verify`: from the champion to a published forecast, and from that to its scores."""

from __future__ import annotations

from datetime import datetime

from pipeline.config import Product, Settings
from pipeline.errors import UsageError
from pipeline.forecasting.predict import issue
from pipeline.forecasting.publish.report_context import gather, missing_stations
from pipeline.forecasting.publish.table import arrange
from pipeline.forecasting.publish.write import publish
from pipeline.forecasting.verification.run import score_matured
from pipeline.forecasting.verification.scores import Scores, by_lead
from pipeline.jobs.clock import now_of
from pipeline.jobs.runner import Runner, plain
from pipeline.locations import read_locations
from pipeline.results import ForecastResult, VerifyResult
from pipeline.store.forecasts import Forecasts
from pipeline.store.layout import Layout
from pipeline.times import Cadence


def forecast(
    product: Product,
    settings: Settings,
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
        ContractError: no rung of the ladder gave a forecast that may be published.
    """
    now = now_of(product, settings, at)
    cadence = Cadence.of(product)
    if since is None and until is None:
        issues = [cadence.latest_issue(now)]
    else:
        if since is None:
            raise UsageError("until: needs since, the first instant of the window")
        issues = list(cadence.issues(since, min(until or now, now)))
        if not issues:
            window = f"{since:%Y-%m-%d %H:%M} and {min(until or now, now):%Y-%m-%d %H:%M} UTC"
            raise UsageError(f"{product.name}: no issue time between {window}; see schedule.forecast")
    return [_forecast_one(product, settings, instant, run) for instant in issues]


def verify(product: Product, settings: Settings, *, at: datetime | None = None, run: Runner = plain) -> VerifyResult:
    """Score every matured forecast; a second call changes nothing."""
    now = now_of(product, settings, at)
    due, scored = run(score_matured, product, settings, at=now)
    table = by_lead(Scores.of(product, settings).read())
    return VerifyResult(product=product.name, at=now, forecasts=due, scored=scored, scores=table)


def _forecast_one(product: Product, settings: Settings, issue_time: datetime, run: Runner) -> ForecastResult:
    store = Forecasts.of(product, settings)
    fresh = False
    if not store.read(issue_time).num_rows:
        issued = run(issue, product, settings, issue_time)
        fresh = store.add(issue_time, issued.rows)
    # What is published is made from the stored rows: after a kill between the two, the same forecast appears.
    forecast = arrange(product, read_locations(product.feed), store.read(issue_time))
    folder, new = run(publish, forecast, gather(product, settings, forecast), Layout.of(product, settings).published)
    return ForecastResult(
        product=product.name,
        issue_time=issue_time,
        rung=forecast.rung,
        model=forecast.model,
        version=forecast.version,
        digest=forecast.digest,
        input_age_hours=forecast.input_age_hours,
        missing=missing_stations(product, settings, forecast),
        folder=folder,
        repeated=not (fresh or new),
        notes=tuple(note for note in forecast.notes.split("; ") if note),
    )
