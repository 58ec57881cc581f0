"""The instant that counts as now."""

from __future__ import annotations

from datetime import UTC, datetime

from pipeline.errors import NoDataError
from pipeline.steps import add
from pipeline.workspace import Workspace


def now_of(ws: Workspace, at: datetime | None = None) -> datetime:
    """Return `at`, or else the current time; for an archive, the time at which its next value would be due.

    Raises:
        NoDataError: an archive has no observations.
    """
    if at is not None:
        return at
    feed = ws.product.feed
    if feed.mode == "live":
        return datetime.now(UTC)
    newest = ws.feed.observations.newest()
    if newest is None:
        raise NoDataError(f"{ws.product.name}: no observations yet; run `nightcast ingest` first")
    return add(newest, 1, feed.step) + feed.delay
