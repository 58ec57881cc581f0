"""Verification of a product, month by month of issue times."""

from __future__ import annotations

from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import Product
from pipeline.forecasting.verification.match import match_observations
from pipeline.forecasting.verification.scores import PUBLISHED, Scores, score_pairs
from pipeline.steps import longest
from pipeline.store.forecasts import Forecasts
from pipeline.store.observations import TIME, Observations
from pipeline.times import Cadence

RESCORED_OVER = timedelta(days=62)
"""Observations are often revised within two months; older scores are not computed again."""


def score_forecasts(
    product: Product,
    cadence: Cadence,
    forecasts: Forecasts,
    observations: Observations,
    scores: Scores,
    *,
    at: datetime,
) -> tuple[int, int]:
    """Update the scores with the observations known at `at`.

    A second call changes nothing, nor does a call for an earlier instant.

    Returns:
        The number of issue times whose first value is due, and the number of published values with a score, of the
        issue times up to the day of `at`.

    Raises:
        StoreError: a store cannot be read or written.
    """
    span = product.forecast.horizon * longest(product.feed.step) + product.feed.delay
    issued = [issue for issue in forecasts.issue_times() if issue <= at]
    months = scores.months()
    for month in sorted({f"{issue:%Y-%m}" for issue in issued}):
        of_month = [issue for issue in issued if f"{issue:%Y-%m}" == month]
        first, last = min(of_month), max(of_month)
        before = months.get(month)
        if before is not None:
            final = last + span + RESCORED_OVER < before.at and before.issue_times == len(of_month)
            if final or before.at > at:  # or scored with newer observations
                continue
        rows = forecasts.read_month(month).filter(pc.field("issue_time") <= pa.scalar(at, TIME))
        observed = observations.read(known_by=at, since=first - span, until=last + 2 * span)
        scored = score_pairs(match_observations(rows, observed, known_by=at))
        if not scored.empty:
            scores.replace(month, scored, at=at, issue_times=len(of_month))
    rows = scores.read(until=at)
    due = sum(cadence.lead_times(issue)[0] + product.feed.delay <= at for issue in issued)
    return due, int(rows.loc[rows["model"] == PUBLISHED, "count"].sum())
