"""The jobs `release` and `drop`: decide what becomes of rows in quarantine."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from pipeline.errors import UsageError
from pipeline.ingest.feed import OpenFeed
from pipeline.ingest.release import decide, judge_release, store_released
from pipeline.jobs.job import Result, RowCounts
from pipeline.jobs.quarantine import Rows, find_refused
from pipeline.workspace import Workspace


class ReleaseResult(RowCounts, Result):
    """What became of rows that somebody released or dropped."""

    action: Literal["released", "dropped"]
    rows: int
    who: str
    why: str


def release(
    ws: Workspace,
    *,
    who: str,
    why: str,
    ids: Sequence[str] = (),
    reason: str = "",
    override: bool = False,
    at: datetime | None = None,
) -> ReleaseResult:
    """Store refused rows as observations that are known from now on, and record who released them and why.

    Their payloads are decoded and checked again with the current product file. With `override`, values that only the
    data contract refuses are stored all the same.

    Raises:
        UsageError: no row is selected, or one that is not in quarantine.
        ContractError: a row would be refused again; nothing was released.
        SourceError: a payload cannot be read; nothing was released.
    """
    at = at or datetime.now(UTC)
    added = revised = unchanged = count = 0
    checked = [
        (feed, rows, judge_release(rows, feed, at=at, override=override)) for feed, rows in _select(ws, ids, reason)
    ]
    for feed, rows, released in checked:  # nothing is stored before everything is checked
        appended = store_released(released, feed, at=at)
        decide(rows, feed, at=at, who=who, why=why, action="released", override=override)
        added, revised = added + appended.added, revised + appended.revised
        unchanged, count = unchanged + appended.unchanged, count + len(rows)
    return ReleaseResult(
        product=ws.product.name,
        action="released",
        rows=count,
        added=added,
        revised=revised,
        unchanged=unchanged,
        who=who,
        why=why,
    )


def drop(
    ws: Workspace,
    *,
    who: str,
    why: str,
    ids: Sequence[str] = (),
    reason: str = "",
    at: datetime | None = None,
) -> ReleaseResult:
    """Reject refused rows for good: they are kept but no longer listed. Who dropped them and why is recorded.

    Raises:
        UsageError: no row is selected, or one that is not in quarantine.
    """
    at = at or datetime.now(UTC)
    count = 0
    for feed, rows in _select(ws, ids, reason):
        decide(rows, feed, at=at, who=who, why=why, action="dropped")
        count += len(rows)
    return ReleaseResult(
        product=ws.product.name, action="dropped", rows=count, added=0, revised=0, unchanged=0, who=who, why=why
    )


def _select(ws: Workspace, ids: Sequence[str], reason: str) -> list[tuple[OpenFeed, Rows]]:
    if not ids and not reason:
        raise UsageError("no rows selected; give ids, or --reason with a part of the reason")
    selected = [(feed, rows) for feed, rows in find_refused(ws, ids, reason) if rows]
    if not selected:
        raise UsageError(
            f"{ws.product.name}: no row in quarantine has a reason that contains {reason!r}; see `quarantine list`"
        )
    return selected
