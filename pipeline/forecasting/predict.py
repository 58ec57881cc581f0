"""One forecast: what was known at the issue time, through the ladder, as rows for the store."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from models.base import Model
from models.build import build
from pipeline.config import Product, Settings
from pipeline.errors import NoDataError
from pipeline.features.snapshot import Snapshot, take_snapshot
from pipeline.features.windows import IssueWindows
from pipeline.forecasting.ladder import CLIMATOLOGY, InputState, Served, climb_down, inspect
from pipeline.forecasting.serving import Shelf
from pipeline.store.forecasts import SCHEMA
from pipeline.times import as_datetime
from pipeline.version import code_version

FITTED_ON = timedelta(days=3653)


@dataclass(frozen=True)
class Issued:
    """A forecast and the state of its input."""

    issue_time: datetime
    served: Served
    state: InputState
    input_age_hours: float
    rows: pa.Table


def issue(product: Product, settings: Settings, issue_time: datetime) -> Issued:
    """Forecast for an issue time from what was known then.

    Raises:
        NoDataError: nothing was known then.
        ContractError: no rung of the ladder gave a forecast that may be published.
    """
    span = (product.forecast.context + 2) * product.feed.step + product.feed.delay
    try:
        snapshot = take_snapshot(product, settings, known_by=issue_time, since=issue_time - span)
    except NoDataError:  # nothing recent: the frames of the past still tell the climate
        long_ago = issue_time - product.training.window
        snapshot = take_snapshot(product, settings, known_by=issue_time, since=long_ago)
    windows = IssueWindows(snapshot.task, snapshot.cadence, snapshot.frames, [issue_time], truth_at=issue_time)
    state = inspect(windows)
    shelf = Shelf(product, settings)
    served = climb_down(windows, shelf, lambda: _climatology(product, settings, issue_time))
    newest = snapshot.cadence.origin(issue_time)
    if state.age_steps is not None:
        age = (issue_time - (newest - state.age_steps * snapshot.cadence.step)).total_seconds() / 3600
    else:
        age = float("inf")
    return Issued(issue_time, served, state, age, _rows(snapshot, issue_time, served, age))


def _climatology(product: Product, settings: Settings, issue_time: datetime) -> Model:
    snapshot = take_snapshot(product, settings, known_by=issue_time, since=issue_time - FITTED_ON)
    cadence = snapshot.cadence
    earliest = as_datetime(snapshot.frames.times[0]) - (cadence.leads + 1) * cadence.step
    first = max(issue_time - FITTED_ON, earliest)
    issues = [
        past for past in cadence.issues(first, issue_time) if cadence.lead_times(past)[-1] + cadence.delay <= issue_time
    ]
    train = IssueWindows(snapshot.task, cadence, snapshot.frames, issues, truth_at=issue_time)
    none = IssueWindows(snapshot.task, cadence, snapshot.frames, [], truth_at=issue_time)
    model = build(CLIMATOLOGY, snapshot.task)
    model.fit(train, none)
    return model


def _rows(snapshot: Snapshot, issue_time: datetime, served: Served, age: float) -> pa.Table:
    task = snapshot.task
    valid = snapshot.cadence.lead_times(issue_time)
    candidate = served.candidate
    tables = []
    for name, quantiles in ((None, served.quantiles), *served.shadows.items()):
        leads, targets, places, levels = quantiles.shape
        count = leads * targets * places
        tables.append(
            pa.table(
                {
                    "issue_time": [issue_time] * count,
                    "valid_time": np.repeat(np.array(valid, object), targets * places).tolist(),
                    "lead": np.repeat(np.arange(1, leads + 1), targets * places),
                    "location": list(task.locations) * (leads * targets),
                    "variable": np.tile(np.repeat(task.targets, places), leads).tolist(),
                    "model": [name or candidate.model.name] * count,
                    "published": [name is None] * count,
                    "levels": [list(task.quantiles)] * count,
                    "quantiles": quantiles.reshape(count, levels).tolist(),
                    "rung": [candidate.rung] * count,
                    "input_age_hours": [age] * count,
                    "version": [candidate.version] * count,
                    "digest": [candidate.digest] * count,
                    "code_version": [code_version()] * count,
                    "notes": ["; ".join(served.notes)] * count,
                },
                schema=pa.schema([field for field in SCHEMA if field.name != "month"]),
            )
        )
    return pa.concat_tables(tables)
