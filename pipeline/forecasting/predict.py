"""One forecast from what was known at its issue time, as rows for the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from models.base import Model
from models.catalogue import build
from pipeline.config import Product
from pipeline.errors import NoDataError
from pipeline.features.covariates import load_future_covariates
from pipeline.features.snapshot import Snapshot, take_snapshot
from pipeline.forecasting.fallback import CLIMATOLOGY, Forecast, InputState, forecast_with_fallbacks, inspect
from pipeline.forecasting.serving import BundleStore
from pipeline.ingest.feed import OpenFeed
from pipeline.store.forecasts import SCHEMA
from pipeline.store.observations import TIME
from pipeline.times import Cadence, as_datetime
from pipeline.version import code_version

FITTED_ON = timedelta(days=3653)


@dataclass(frozen=True)
class Issued:
    """A forecast and the state of its input."""

    issue_time: datetime
    served: Forecast
    state: InputState
    input_age_hours: float
    rows: pa.Table


def issue(
    product: Product,
    cadence: Cadence,
    feed: OpenFeed,
    covariates: Mapping[str, OpenFeed],
    bundles: BundleStore,
    issue_time: datetime,
) -> Issued:
    """Forecast for an issue time from what was known then. Covariates that are late or cannot be read are left out.

    Raises:
        NoDataError: nothing was known then.
        ContractError: no model gave a forecast that may be published, not even climatology.
    """
    span = (product.forecast.context + 2) * product.feed.step + product.feed.delay
    try:
        snapshot = take_snapshot(product, cadence, feed, {}, known_by=issue_time, since=issue_time - span)
    except NoDataError:  # nothing recent: the frames of the past still tell the climate
        long_ago = issue_time - product.training.window
        snapshot = take_snapshot(product, cadence, feed, {}, known_by=issue_time, since=long_ago)
    future = load_future_covariates(covariates, cadence, snapshot.locations, known_by=issue_time, faults=bundles.notes)
    windows = replace(snapshot, covariates=future).windows([issue_time], truth_at=issue_time)
    state = inspect(windows)
    served = forecast_with_fallbacks(windows, bundles, lambda: _climatology(product, cadence, feed, issue_time))
    newest = cadence.origin(issue_time)
    if state.age_steps is not None:
        age = (issue_time - (newest - state.age_steps * cadence.step)).total_seconds() / 3600
    else:
        age = float("inf")
    return Issued(issue_time, served, state, age, _rows(snapshot, issue_time, served, age))


def _climatology(product: Product, cadence: Cadence, feed: OpenFeed, issue_time: datetime) -> Model:
    snapshot = take_snapshot(product, cadence, feed, {}, known_by=issue_time, since=issue_time - FITTED_ON)
    earliest = as_datetime(snapshot.frames.times[0]) - (cadence.leads + 1) * cadence.step
    first = max(issue_time - FITTED_ON, earliest)
    issues = [
        past for past in cadence.issues(first, issue_time) if cadence.lead_times(past)[-1] + cadence.delay <= issue_time
    ]
    model = build(CLIMATOLOGY, snapshot.task)
    model.fit(snapshot.windows(issues, truth_at=issue_time), snapshot.windows([], truth_at=issue_time))
    return model


def _rows(snapshot: Snapshot, issue_time: datetime, served: Forecast, age: float) -> pa.Table:
    """Return the served forecast and its shadows as rows; a large grid has millions, so no row is a Python object."""
    task, schema = snapshot.task, pa.schema([field for field in SCHEMA if field.name != "month"])
    valid, candidate = snapshot.cadence.lead_times(issue_time), served.candidate
    leads, targets, places, levels = served.quantiles.shape
    count = leads * targets * places
    lead, target, place = (axis.ravel() for axis in np.indices((leads, targets, places), np.int32))
    told = {
        "valid_time": pa.array(valid, TIME).take(pa.array(lead)),
        "lead": pa.array(lead + 1),
        "location": pa.array(task.locations).take(pa.array(place)),
        "variable": pa.array(task.targets).take(pa.array(target)),
    }
    ends = pa.array(np.arange(count + 1, dtype=np.int32) * levels)
    tables = []
    for name, quantiles in ((None, served.quantiles), *served.shadows.items()):
        alike = {
            "issue_time": issue_time,
            "model": name or candidate.model.name,
            "published": name is None,
            "levels": list(task.quantiles),
            "rung": int(candidate.fallback_level),
            "input_age_hours": age,
            "version": candidate.version,
            "digest": candidate.digest,
            "code_version": code_version(),
            "notes": "; ".join(served.notes),
        }
        columns = told | {
            key: pa.repeat(pa.scalar(value, schema.field(key).type), count) for key, value in alike.items()
        }
        columns["quantiles"] = pa.ListArray.from_arrays(ends, pa.array(quantiles.ravel()))
        tables.append(pa.table(columns).select(schema.names).cast(schema))
    return pa.concat_tables(tables)
