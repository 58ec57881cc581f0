"""The instant that counts as now."""

from __future__ import annotations

from datetime import UTC, datetime

from pipeline.config import Product, Settings
from pipeline.errors import NoDataError
from pipeline.store.observations import Observations


def now_of(product: Product, settings: Settings, at: datetime | None = None) -> datetime:
    """Return the instant that counts as now.

    Raises:
        NoDataError: the record of an archive is empty.
    """
    if at is not None:
        return at
    if product.feed.clock == "wall":
        return datetime.now(UTC)
    newest = Observations.of(product.feed, settings).newest()
    if newest is None:
        raise NoDataError(f"{product.name}: no observations yet; run `nightcast ingest` first")
    return newest + product.feed.delay + product.feed.step
