"""The jobs that look into the quarantine: count its rows by reason, and show them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from expectations.reasons import summarise
from pipeline.errors import UsageError
from pipeline.ingest.feed import OpenFeed
from pipeline.ingest.quality.reasons import has_reason, reasons_of
from pipeline.jobs.job import Facts, Result
from pipeline.workspace import Workspace

Rows = list[dict[str, Any]]
_SHOWN = ("id", "valid_time", "location", "values", "reason", "quarantined_at", "payload", "name")


class RefusedGroup(Facts):
    """Rows in quarantine for one reason."""

    feed: str
    """The product, or the product and the name of a covariate."""
    reason: str
    rows: int
    first: datetime | None
    """Earliest valid time; None if no row has a readable one."""
    last: datetime | None
    example: str
    """Id of one of the rows."""


class QuarantineResult(Result):
    """The rows in quarantine, counted by reason."""

    groups: tuple[RefusedGroup, ...]
    released: int
    """Rows released so far."""
    dropped: int
    """Rows dropped so far."""


class RefusedRow(Facts):
    """One row in quarantine."""

    id: str
    feed: str
    valid_time: datetime | None
    location: str | None
    values: str
    """What the source delivered, as JSON."""
    reason: str
    quarantined_at: datetime
    payload: str
    """SHA-256 of the payload it came in."""
    name: str
    """Name of that payload."""


class RefusedRows(Result):
    """Rows in quarantine."""

    rows: tuple[RefusedRow, ...]
    total: int
    """Number of rows found; `rows` may hold fewer."""


def list_refused(ws: Workspace) -> QuarantineResult:
    """Count the rows in quarantine by reason, most frequent first."""
    groups: list[RefusedGroup] = []
    released = dropped = 0
    for feed in ws.feeds:
        by_reason: dict[str, Rows] = {}
        for row in feed.quarantine.open_rows().to_pylist():
            by_reason.setdefault(summarise(reasons_of(row)), []).append(row)
        for reason, rows in by_reason.items():
            times = sorted(row["valid_time"] for row in rows if row["valid_time"] is not None)
            first, last = (times[0], times[-1]) if times else (None, None)
            groups.append(
                RefusedGroup(
                    feed=feed.title, reason=reason, rows=len(rows), first=first, last=last, example=rows[0]["id"]
                )
            )
        released += feed.quarantine.count("released")
        dropped += feed.quarantine.count("dropped")
    groups.sort(key=lambda group: (-group.rows, group.reason))
    return QuarantineResult(product=ws.product.name, groups=tuple(groups), released=released, dropped=dropped)


def show_refused(ws: Workspace, *, ids: Sequence[str] = (), reason: str = "", limit: int = 20) -> RefusedRows:
    """Return rows in quarantine: those with the given ids (or prefixes of ids), or whose reason contains a text.

    Raises:
        UsageError: an id matches no row in quarantine, or several.
    """
    rows = [
        RefusedRow.model_validate({"feed": feed.title, **{name: row[name] for name in _SHOWN}})
        for feed, found in find_refused(ws, ids, reason)
        for row in found
    ]
    return RefusedRows(product=ws.product.name, rows=tuple(rows[:limit]), total=len(rows))


def find_refused(ws: Workspace, ids: Sequence[str], reason: str) -> list[tuple[OpenFeed, Rows]]:
    """Return the rows in quarantine with the given ids (or prefixes), and whose reason contains a text, by feed.

    Raises:
        UsageError: an id matches no row in quarantine, or several.
    """
    found = []
    matches = dict.fromkeys(ids, 0)
    for feed in ws.feeds:
        rows = []
        for row in feed.quarantine.open_rows().to_pylist():
            matching = [prefix for prefix in ids if row["id"].startswith(prefix)]
            for prefix in matching:
                matches[prefix] += 1
            if (matching or not ids) and has_reason(row, reason):
                rows.append(row)
        found.append((feed, rows))
    for prefix, count in matches.items():
        if count != 1:
            problem = f"matches {count} ids; write more of it" if count else "is not in quarantine"
            raise UsageError(f"{ws.product.name}: '{prefix}' {problem}; see `nightcast quarantine show`")
    return found
