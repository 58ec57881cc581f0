"""What moved the forecast of an issue time, from what was known then."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pipeline.config import Product
from pipeline.forecasting.predict import snapshot_at_issue
from pipeline.ingest.feed import OpenFeed
from pipeline.registry.bundle import Fit
from pipeline.times import Cadence
from pipeline.training.evaluate import check_task
from pipeline.training.explanation.facts import Influence
from pipeline.training.explanation.groups import input_groups
from pipeline.training.explanation.influences import measure_influences


def influences_at_issue(
    product: Product,
    cadence: Cadence,
    feed: OpenFeed,
    covariates: Mapping[str, OpenFeed],
    fit: Fit,
    issue_time: datetime,
) -> tuple[Influence, ...]:
    """Return how each group of inputs moves the median that a fit forecasts.

    Raises:
        NoDataError: nothing was known at the issue time.
        ModelError: the model cannot be loaded, or was made for other locations or variables.
    """
    snapshot = snapshot_at_issue(product, cadence, feed, covariates, issue_time)
    model = fit.challenger()
    check_task(model, snapshot.task)
    groups = input_groups(snapshot.task, product, snapshot.locations)
    windows = snapshot.windows([issue_time], truth_at=issue_time)
    return measure_influences(model, windows, groups, snapshot.locations)
