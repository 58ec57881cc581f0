"""Verification of a product: every matured forecast against what came true, month by month of issue times."""

from __future__ import annotations

from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import Product
from pipeline.forecasting.verification.match import match
from pipeline.forecasting.verification.scores import PUBLISHED, Scores, score_rows
from pipeline.store.forecasts import Forecasts
from pipeline.store.observations import TIME, Observations
from pipeline.times import Cadence

RESCORED_OVER = timedelta(days=62)
"""Truth is often revised within two months; older scores stay as they are."""


def score_matured(
    product: Product,
    cadence: Cadence,
    forecasts: Forecasts,
    observations: Observations,
    scores: Scores,
    *,
    at: datetime,
) -> tuple[int, int]:
    """Bring the scores up to what is known at `at`; return how many issue times are due and how many
    published values are scored.

    Doing this twice changes nothing, and neither does doing it for an instant before the last time.

    Raises:
        StoreError: a store cannot be read or written.
    """
    span = product.forecast.horizon * product.feed.step + product.feed.delay
    issued = [issue for issue in forecasts.issue_times() if issue <= at]
    done = scores.months()
    for month in sorted({f"{issue:%Y-%m}" for issue in issued}):
        last = max(issue for issue in issued if f"{issue:%Y-%m}" == month)
        if month in done and (done[month] > at or last + span + RESCORED_OVER < done[month]):
            continue  # scored by later knowledge, or settled
        first = min(issue for issue in issued if f"{issue:%Y-%m}" == month)
        rows = forecasts.read_month(month).filter(pc.field("issue_time") <= pa.scalar(at, TIME))
        truth = observations.read(known_by=at, since=first - span, until=last + 2 * span)
        scored = score_rows(match(rows, truth, known_by=at))
        if not scored.empty:
            scores.replace(month, scored, at=at)
    rows = scores.read()
    due = sum(cadence.lead_times(issue)[0] + product.feed.delay <= at for issue in issued)
    return due, int(rows.loc[rows["model"] == PUBLISHED, "count"].sum())
