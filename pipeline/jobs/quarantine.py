"""The jobs around refused rows: what is in quarantine, and what somebody releases or drops from it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from expectations.reasons import summarise
from pipeline.errors import UsageError
from pipeline.ingest.feed import OpenFeed
from pipeline.ingest.quality.reasons import has_reason, reasons_of
from pipeline.ingest.release import decide, judge_release, store_released
from pipeline.results import QuarantineResult, RefusedGroup, RefusedRow, RefusedRows, ReleaseResult
from pipeline.workspace import Workspace

Rows = list[dict[str, Any]]


def list_refused(ws: Workspace) -> QuarantineResult:
    """Return what is in quarantine, by reason, most frequent first."""
    groups: list[RefusedGroup] = []
    released = dropped = 0
    for feed in ws.feeds:
        quarantine = feed.quarantine
        by_reason: dict[str, Rows] = {}
        for row in quarantine.open_rows().to_pylist():
            by_reason.setdefault(summarise(reasons_of(row)), []).append(row)
        for reason, rows in by_reason.items():
            times = sorted(row["valid_time"] for row in rows if row["valid_time"] is not None)
            first, last = (times[0], times[-1]) if times else (None, None)
            groups.append(
                RefusedGroup(
                    feed=feed.title, reason=reason, rows=len(rows), first=first, last=last, example=rows[0]["id"]
                )
            )
        released += quarantine.count("released")
        dropped += quarantine.count("dropped")
    groups.sort(key=lambda group: (-group.rows, group.reason))
    return QuarantineResult(product=ws.product.name, groups=tuple(groups), released=released, dropped=dropped)


def show_refused(ws: Workspace, *, ids: Sequence[str] = (), reason: str = "", limit: int = 20) -> RefusedRows:
    """Return rows in quarantine: those with the ids (or beginnings of them), or whose reason holds a text.

    Raises:
        UsageError: an id names no row in quarantine, or several.
    """
    found = [
        RefusedRow.model_validate({"feed": feed.title, **{name: row[name] for name in _SHOWN}})
        for feed, rows in _choose(ws, ids, reason)
        for row in rows
    ]
    return RefusedRows(product=ws.product.name, rows=tuple(found[:limit]), total=len(found))


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
    """Let refused rows enter the observations, as known from now on; the release is recorded.

    They enter by the same door: the payload is decoded and judged anew, by the product file of today. With
    `override`, what only a check of values refused enters by the word of `who`.

    Raises:
        UsageError: no row is named, or one that is not in quarantine.
        ContractError: a row would be refused again; nothing was released.
        SourceError: a payload cannot be read; nothing was released.
    """
    at = at or datetime.now(UTC)
    accepted = revised = unchanged = count = 0
    judged = [
        (feed, rows, judge_release(rows, feed, at=at, override=override)) for feed, rows in _named(ws, ids, reason)
    ]
    for feed, rows, released in judged:  # nothing was written before all of it was judged
        appended = store_released(released, feed, at=at)
        decide(rows, feed, at=at, who=who, why=why, action="released", override=override)
        accepted, revised = accepted + appended.accepted, revised + appended.revised
        unchanged, count = unchanged + appended.unchanged, count + len(rows)
    return _result(ws, "released", count, accepted, revised, unchanged, who, why)


def drop(
    ws: Workspace,
    *,
    who: str,
    why: str,
    ids: Sequence[str] = (),
    reason: str = "",
    at: datetime | None = None,
) -> ReleaseResult:
    """Put refused rows aside for good: they are kept and no longer listed; who and why is recorded.

    Raises:
        UsageError: no row is named, or one that is not in quarantine.
    """
    at = at or datetime.now(UTC)
    count = 0
    for feed, rows in _named(ws, ids, reason):
        decide(rows, feed, at=at, who=who, why=why, action="dropped")
        count += len(rows)
    return _result(ws, "dropped", count, 0, 0, 0, who, why)


_SHOWN = ("id", "valid_time", "location", "values", "reason", "quarantined_at", "payload", "name")


def _result(
    ws: Workspace,
    action: Literal["released", "dropped"],
    rows: int,
    accepted: int,
    revised: int,
    unchanged: int,
    who: str,
    why: str,
) -> ReleaseResult:
    return ReleaseResult(
        product=ws.product.name,
        action=action,
        rows=rows,
        accepted=accepted,
        revised=revised,
        unchanged=unchanged,
        who=who,
        why=why,
    )


def _named(ws: Workspace, ids: Sequence[str], reason: str) -> list[tuple[OpenFeed, Rows]]:
    if not ids and not reason:
        raise UsageError("no row is named; give ids, or --reason with a part of the reason")
    chosen = _choose(ws, ids, reason)
    if not any(rows for _, rows in chosen):
        raise UsageError(f"{ws.product.name}: no row in quarantine has a reason with {reason!r}; see `quarantine list`")
    return [(feed, rows) for feed, rows in chosen if rows]


def _choose(ws: Workspace, ids: Sequence[str], reason: str) -> list[tuple[OpenFeed, Rows]]:
    chosen = []
    met = dict.fromkeys(ids, 0)
    for feed in ws.feeds:
        kept = []
        for row in feed.quarantine.open_rows().to_pylist():
            named = [one for one in ids if row["id"].startswith(one)]
            for one in named:
                met[one] += 1
            if (named or not ids) and has_reason(row, reason):
                kept.append(row)
        chosen.append((feed, kept))
    for one, count in met.items():
        if count != 1:
            problem = "is not in quarantine" if not count else f"is the beginning of {count} ids; write more of it"
            raise UsageError(f"{ws.product.name}: '{one}' {problem}; see `nightcast quarantine show`")
    return chosen
