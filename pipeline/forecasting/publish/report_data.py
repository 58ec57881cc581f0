"""What the report page of a forecast shows, as plain facts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from pipeline.config import Grid
from pipeline.features.asof import as_of
from pipeline.features.frames import build_frames
from pipeline.forecasting.notes import fallback_reason, missing_covariates
from pipeline.forecasting.publish.published_forecast import PublishedForecast
from pipeline.forecasting.verification.scores import PUBLISHED, LeadScore
from pipeline.report import (
    Basis,
    DataFacts,
    LeadSkill,
    ModelFacts,
    RefusedReason,
    ReportData,
    StationSeries,
    VariableForecast,
)
from pipeline.report.typography import lead_name
from pipeline.steps import Step, mean_length
from pipeline.training.metrics import nominal_coverage

SHOWN_FRAMES = 30
"""Observed frames that the charts show."""
COUNTED_OVER = timedelta(days=14)
"""Period before the issue time whose ingested rows are counted."""


@dataclass(frozen=True)
class ReportContext:
    """What a report shows beside the forecast: observations, the model, and scores of earlier forecasts."""

    observations: pa.Table
    """Bitemporal rows of the last frames, as known at the issue time."""
    scores: tuple[LeadScore, ...]
    """By model, variable and lead; the published forecast is called 'published'."""
    added: int
    revised: int
    reasons: dict[str, int]
    """Refused rows by reason; like `added` and `revised`, of the last `COUNTED_OVER`."""
    champion: str
    """Name of the champion model; empty when there is none."""
    trained_until: datetime | None
    verdict: str
    intervals: tuple[tuple[float, float], ...]
    """Nominal and held-out coverage of the champion's intervals, the widest first."""
    missing: tuple[str, ...]
    """Ids of the locations without a value in the newest frame that is due."""
    basis: Basis | None = None
    """What the forecasts of the champion rest on; None if it was not explained or did not make this forecast."""


def report_data(forecast: PublishedForecast, context: ReportContext, links: tuple[tuple[str, str], ...]) -> ReportData:
    """Return everything that the report page of a forecast shows."""
    product = forecast.product
    names = dict(zip(forecast.locations.ids, forecast.locations.names, strict=True))
    age = timedelta(hours=forecast.input_age_hours) if np.isfinite(forecast.input_age_hours) else None
    refused = sum(context.reasons.values())
    return ReportData(
        product=product.name,
        title=product.title or product.name,
        issue_time=forecast.issue_time,
        step=product.feed.step,
        fallback_level=forecast.fallback_level,
        variables=tuple(_variable(forecast, context, index) for index in range(len(product.forecast.targets))),
        model=ModelFacts(
            name=context.champion,
            version=str(forecast.version or ""),
            digest=forecast.digest,
            trained_through=context.trained_until,
            gate_verdict=context.verdict,
            intervals=context.intervals,
            served_by=forecast.model if forecast.model != context.champion else "",
        ),
        data=DataFacts(
            as_of=forecast.issue_time,
            newest_observation=forecast.issue_time - age if age is not None else None,
            input_age=age,
            added=context.added,
            revised=context.revised,
            refused=refused,
            counted_over=COUNTED_OVER,
            refused_reasons=tuple(RefusedReason(reason=text, count=count) for text, count in context.reasons.items()),
            missing_stations=tuple(names.get(station, station) for station in context.missing),
            missing_covariates=missing_covariates(forecast.notes),
        ),
        basis=context.basis,
        time_label=product.feed.source.time_label,
        fallback_reason=fallback_reason(forecast.notes),
        location_kind="cell" if isinstance(product.feed.locations, Grid) else "station",
        licence=product.feed.attribution,
        nightcast_version=forecast.code_version.partition("+")[0],
        code_version=forecast.code_version,
        links=links,
    )


def _variable(forecast: PublishedForecast, context: ReportContext, index: int) -> VariableForecast:
    product, locations = forecast.product, forecast.locations
    name = product.forecast.targets[index]
    variable = product.feed.variable(name)
    times, observed = _history(forecast, context.observations, name)
    stations = tuple(
        StationSeries(
            station_id=locations.ids[location],
            name=locations.names[location],
            latitude=locations.latitude[location],
            longitude=locations.longitude[location],
            observed_time=times,
            observed=observed[:, location],
            valid_time=forecast.valid_times,
            quantile_levels=forecast.quantile_levels,
            quantiles=forecast.quantiles[:, index, location].astype(np.float64),
        )
        for location in range(len(locations))
    )
    return VariableForecast(
        name=name,
        title=variable.long_name,
        units=variable.units,
        stations=stations,
        skill=lead_skill(context.scores, name, product.feed.step),
        nominal_coverage=nominal_coverage(forecast.quantile_levels),
        skill_period="since the first forecast",
    )


def lead_skill(scores: tuple[LeadScore, ...], variable: str, step: Step) -> tuple[LeadSkill, ...]:
    """Return the scores of the published forecast and of the baselines by lead, for one variable."""
    of_variable = [score for score in scores if score.variable == variable]
    published = [score for score in of_variable if score.model == PUBLISHED]
    return tuple(
        LeadSkill(
            lead=score.lead * mean_length(step),
            name=lead_name(score.lead, step),
            crps=score.crps,
            baseline_crps=tuple(
                (other.model, other.crps)
                for other in of_variable
                if other.model != PUBLISHED and other.lead == score.lead
            ),
            coverage=score.coverage,
            count=score.count,
        )
        for score in sorted(published, key=lambda score: score.lead)
    )


def _history(forecast: PublishedForecast, rows: pa.Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    if rows.num_rows == 0:
        return np.empty(0, "datetime64[us]"), np.empty((0, len(forecast.locations)))
    frames = build_frames(rows, locations=forecast.locations.ids, variables=(name,), step=forecast.product.feed.step)
    values = as_of(frames, forecast.issue_time)[-SHOWN_FRAMES:, 0]
    return frames.times[-SHOWN_FRAMES:], values.astype(np.float64)
