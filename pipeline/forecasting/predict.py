"""One forecast from what was known at its issue time, as rows for the store."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from models.base import Model
from models.catalogue import build
from models.errors import ModelError
from pipeline.config import Product
from pipeline.errors import NoDataError, first_line
from pipeline.features.covariates import load_covariates_at_issue
from pipeline.features.snapshot import Snapshot, take_snapshot
from pipeline.forecasting.fallback import Forecast, InputState, forecast_with_fallbacks, inspect_input
from pipeline.forecasting.notes import Note, encode_notes
from pipeline.forecasting.serving import BundleStore
from pipeline.forecasting.serving_order import CHAMPION_SERVES
from pipeline.ingest.feed import OpenFeed
from pipeline.registry.ledger import Ledger
from pipeline.registry.standing import Standing, standing_before
from pipeline.steps import add, longest
from pipeline.store.forecasts import CHAMPION, JUDGED, SCHEMA
from pipeline.store.observations import TIME
from pipeline.times import Cadence, as_datetime
from pipeline.training.fit import CLIMATOLOGY
from pipeline.version import code_version

log = logging.getLogger(__name__)

CLIMATOLOGY_WINDOW = timedelta(days=3653)
"""History that the emergency climatology is fitted on."""


@dataclass(frozen=True)
class IssuedForecast:
    """A forecast, the state of its input, and its rows for the store."""

    issue_time: datetime
    forecast: Forecast
    input_state: InputState
    input_age_hours: float
    """Issue time minus the newest valid time with a value, in hours; infinite when there is none."""
    rows: pa.Table
    """The forecast and the baseline forecasts, in the schema of the forecasts table."""


def issue_forecast(
    product: Product,
    cadence: Cadence,
    feed: OpenFeed,
    covariates: Mapping[str, OpenFeed],
    bundles: BundleStore,
    issue_time: datetime,
    ledger: Ledger | None = None,
) -> IssuedForecast:
    """Forecast for an issue time from what was known then, without covariates that are late or cannot be read.

    Live verdicts in the ledger count if they were recorded before the issue time; without a ledger, or if it cannot be
    read, the champion serves.

    Raises:
        NoDataError: nothing was known then, or too little to fit even climatology.
        ContractError: no forecast passed the output checks, not even climatology.
    """
    snapshot = snapshot_at_issue(product, cadence, feed, covariates, issue_time)
    windows = snapshot.windows([issue_time], truth_at=issue_time)
    state = inspect_input(windows)
    notes = [Note("covariate_unreadable", (one.name,), error=one.error) for one in snapshot.covariates.unreadable]
    if state.missing_covariates:
        notes.append(Note("missing_covariates", state.missing_covariates))
    standing, problems = _standing(ledger, issue_time)
    forecast = forecast_with_fallbacks(
        windows,
        state,
        bundles,
        lambda: _fit_climatology(product, cadence, feed, issue_time),
        [*notes, *problems],
        standing,
    )
    if state.age_steps is None:
        age = float("inf")
    else:
        newest = add(cadence.origin(issue_time), -state.age_steps, cadence.step)
        age = (issue_time - newest).total_seconds() / 3600
    return IssuedForecast(issue_time, forecast, state, age, _rows(snapshot, issue_time, forecast, age))


def snapshot_at_issue(
    product: Product,
    cadence: Cadence,
    feed: OpenFeed,
    covariates: Mapping[str, OpenFeed],
    issue_time: datetime,
) -> Snapshot:
    """Return the recent frames and the covariates that were known at an issue time.

    Raises:
        NoDataError: nothing was known then.
    """
    span = (product.forecast.context + 2) * longest(product.feed.step) + product.feed.delay
    try:
        snapshot = take_snapshot(product, cadence, feed, {}, known_by=issue_time, since=issue_time - span)
    except NoDataError:  # no recent frame, but climatology needs only older ones
        training_start = issue_time - product.training.window
        snapshot = take_snapshot(product, cadence, feed, {}, known_by=issue_time, since=training_start)
    future = load_covariates_at_issue(covariates, cadence, snapshot.locations, issue_time=issue_time)
    return replace(snapshot, covariates=future)


def _standing(ledger: Ledger | None, issue_time: datetime) -> tuple[Standing, tuple[Note, ...]]:
    """Return what serves at an issue time; whatever is wrong with the ledger, it does not stop the forecast."""
    if ledger is None:
        return CHAMPION_SERVES, ()
    try:
        return standing_before(ledger, issue_time), ()
    except Exception as error:
        log.exception("the ledger cannot be read")
        return CHAMPION_SERVES, (Note("ledger_unreadable", error=first_line(error)),)


def _fit_climatology(product: Product, cadence: Cadence, feed: OpenFeed, issue_time: datetime) -> Model:
    since = issue_time - CLIMATOLOGY_WINDOW
    snapshot = take_snapshot(product, cadence, feed, {}, known_by=issue_time, since=since)
    earliest = add(as_datetime(snapshot.frames.times[0]), -(cadence.leads + 1), cadence.step)
    issues = [
        past
        for past in cadence.issues(max(since, earliest), issue_time)
        if cadence.lead_times(past)[-1] + cadence.delay <= issue_time
    ]
    model = build(CLIMATOLOGY, snapshot.task)
    try:
        model.fit(snapshot.windows(issues, truth_at=issue_time), snapshot.windows([], truth_at=issue_time))
    except ModelError as error:
        raise NoDataError(
            f"{product.name}: too few observations were known at {issue_time:%Y-%m-%d %H:%M} UTC ({error}); ingest "
            "older ones with `nightcast backfill`, or wait until the values of a past issue time have arrived"
        ) from error
    return model


def _rows(snapshot: Snapshot, issue_time: datetime, forecast: Forecast, age: float) -> pa.Table:
    """Return a forecast and its baselines as rows; a large grid has millions, so no row is a Python object."""
    task, schema = snapshot.task, pa.schema([field for field in SCHEMA if field.name != "month"])
    valid_times, made_by = snapshot.cadence.lead_times(issue_time), forecast.made_by
    leads, targets, locations, levels = forecast.quantiles.shape
    count = leads * targets * locations
    lead, target, location = (axis.ravel() for axis in np.indices((leads, targets, locations), np.int32))
    keys = {
        "valid_time": pa.array(valid_times, TIME).take(pa.array(lead)),
        "lead": pa.array(lead + 1),
        "location": pa.array(task.locations).take(pa.array(location)),
        "variable": pa.array(task.targets).take(pa.array(target)),
    }
    offsets = pa.array(np.arange(count + 1, dtype=np.int32) * levels)
    tables = []
    shadows = {JUDGED: forecast.judged, CHAMPION: forecast.champion}
    others = forecast.baseline_forecasts | {name: one for name, one in shadows.items() if one is not None}
    for baseline, quantiles in ((None, forecast.quantiles), *others.items()):
        constants = {
            "issue_time": issue_time,
            "model": baseline or made_by.model.name,
            "published": baseline is None,
            "levels": list(task.quantile_levels),
            "rung": int(made_by.fallback_level),
            "input_age_hours": age,
            "version": made_by.version,
            "digest": made_by.digest,
            "code_version": code_version(),
            "notes": encode_notes(forecast.notes),
        }
        columns = keys | {
            name: pa.repeat(pa.scalar(value, schema.field(name).type), count) for name, value in constants.items()
        }
        columns["quantiles"] = pa.ListArray.from_arrays(offsets, pa.array(quantiles.ravel()))
        tables.append(pa.table(columns).select(schema.names).cast(schema))
    return pa.concat_tables(tables)
