"""Gathering what surrounds a forecast from the stores, when a page is to be made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from functools import cache

import numpy as np
import pandas as pd

from models.errors import CheckpointError
from pipeline.config import Product, Settings
from pipeline.forecasting.publish.page import COUNTED_OVER, SHOWN_FRAMES, Background
from pipeline.forecasting.publish.table import PublishedForecast
from pipeline.forecasting.verification.scores import Scores, by_lead
from pipeline.registry.bundle import Bundle, read_bundle
from pipeline.registry.ledger import Ledger
from pipeline.store.layout import FeedLayout, Layout
from pipeline.store.observations import Observations
from pipeline.store.receipts import Receipts
from pipeline.times import Cadence


def gather(product: Product, settings: Settings, forecast: PublishedForecast) -> Callable[[], Background]:
    """Return a function that reads the background of a forecast from the stores, once."""

    @cache
    def background() -> Background:
        issue, cadence = forecast.issue_time, Cadence.of(product)
        span = (SHOWN_FRAMES + 1) * cadence.step + cadence.delay
        rows = Observations.of(product.feed, settings).read(known_by=issue, since=issue - span)
        bundle = _bundle(product, settings, forecast)
        counts, reasons = _intake(product, settings, issue)
        return Background(
            observations=rows,
            scores=by_lead(_before(product, settings, issue)),
            accepted=counts["accepted"],
            revised=counts["revised"],
            reasons=reasons,
            champion=bundle.model_name if bundle else "",
            trained_until=bundle.trained_until if bundle else None,
            verdict=_verdict(product, settings, forecast.version),
            missing=missing_stations(product, settings, forecast),
        )

    return background


def missing_stations(product: Product, settings: Settings, forecast: PublishedForecast) -> tuple[str, ...]:
    """Return the stations of a forecast without a value in the frame that should be its newest."""
    newest = Cadence.of(product).origin(forecast.issue_time)
    rows = Observations.of(product.feed, settings).read(known_by=forecast.issue_time, since=newest, until=newest)
    seen = set(rows["location"].to_pylist())
    return tuple(station for station in forecast.locations.ids if station not in seen)


def _bundle(product: Product, settings: Settings, forecast: PublishedForecast) -> Bundle | None:
    if not forecast.digest:
        return None
    try:
        return read_bundle(Layout.of(product, settings).models / forecast.digest, digest=forecast.digest)
    except CheckpointError:  # the page of an old forecast may outlive its model
        return None


def _intake(product: Product, settings: Settings, issue: datetime) -> tuple[Counter[str], dict[str, int]]:
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for receipt in Receipts(FeedLayout.of(product.feed, settings).receipts).recent(issue - COUNTED_OVER):
        if "payload" in receipt and datetime.fromisoformat(receipt["at"]) <= issue:
            counts.update({name: receipt[name] for name in ("accepted", "revised")})
            reasons.update(receipt["reasons"])
    return counts, dict(reasons.most_common())


def _before(product: Product, settings: Settings, issue: datetime) -> pd.DataFrame:
    rows = Scores.of(product, settings).read()
    return rows[rows["day"] < np.datetime64(issue.date())] if len(rows) else rows


def _verdict(product: Product, settings: Settings, version: int | None) -> str:
    for row in Ledger.of(product, settings).read():
        if row.version == version and row.action == "promoted":
            return row.why
    return ""
