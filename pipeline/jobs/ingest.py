"""The job `ingest`: what a product's feeds have new, judged row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pipeline.errors import ContractError, NightcastError, NoDataError, RefusedError, StoreError, UpstreamError
from pipeline.ingest.feed import OpenFeed
from pipeline.ingest.fetch import fetch_payloads, windows_to_ask
from pipeline.ingest.payload import PayloadResult, ingest_payload
from pipeline.jobs.runner import Runner, plain
from pipeline.results import FeedResult, IngestResult
from pipeline.workspace import Workspace


def ingest(
    ws: Workspace,
    *,
    at: datetime | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    run: Runner = plain,
) -> IngestResult:
    """Fetch what is new, judge it, store the good rows and quarantine the others; a second call adds nothing.

    A payload that cannot be had or used does not keep the others out; the result tells of it.

    Raises:
        SourceError: the source cannot be reached, or nothing of what it gave could be read.
        NoDataError: all it gave was empty.
        ContractError: every row it gave was refused.
    """
    began = at or datetime.now(UTC)
    main: FeedResult | NightcastError
    try:
        main = _ingest(ws.feed, began, at, since, until, run)
    except (UpstreamError, RefusedError) as error:  # what is known in advance is taken in nevertheless
        main = error
    covariates = {}
    for name, feed in ws.covariates.items():
        try:
            covariates[name] = _ingest(feed, began, at, since, until, run)
        except (UpstreamError, RefusedError) as error:  # forecasts go on without it; the fault is told
            covariates[name] = described(feed, [], faults=[str(error)])
    if isinstance(main, NightcastError):
        raise main
    return IngestResult(product=ws.product.name, at=began, covariates=covariates, **dict(main))


def worst_checks(ws: Workspace, *, since: datetime) -> dict[str, Any] | None:
    """Return what the checks found in the worst of the payloads taken in since an instant; None without any."""
    receipts = ws.feed.receipts.recent(since)
    found = [receipt["checks"] for receipt in receipts if receipt.get("checks")]
    return max(found, key=lambda one: (not one["success"], len(one["refusals"]) + len(one["warnings"])), default=None)


def _ingest(
    feed: OpenFeed,
    began: datetime,
    at: datetime | None,
    since: datetime | None,
    until: datetime | None,
    run: Runner,
) -> FeedResult:
    damage = feed.observations.table.damage
    if damage is not None:  # nothing can be written on top, and to find nothing new would hide it
        raise StoreError(f"{feed.title}: the observations are damaged, {damage}; run `nightcast maintain --repair`")
    again = since is not None or until is not None
    progress = feed.progress
    history = not progress.read().loaded
    asked_by_time = not again and feed.source.about.supports_time_range
    taken: list[PayloadResult] = []
    for window in [(since, until)] if again else windows_to_ask(feed, at=began):
        payloads = run(fetch_payloads, feed, at=began, since=window[0], until=window[1], again=again)
        learnt = at or datetime.now(UTC)  # after the fetch: nobody knew it before
        done = [
            run(
                ingest_payload,
                payload,
                feed,
                at=learnt,
                since=since,
                until=until,
                history=history,
                live=not again and place == len(payloads),
            )
            for place, payload in enumerate(payloads, 1)
        ]
        taken += done
        if asked_by_time:
            sound = all(one.fault is None for one in done)
            progress.add_window(window, complete=sound, until=min(window[1] or began, began))
    if not again and all(one.fault is None for one in taken):
        progress.finish_first_load()
    result = described(feed, taken, warnings=_stale(feed, began) if not taken else ())
    _require_use(feed, taken, result)
    if asked_by_time and result.newest is None:
        raise NoDataError(f"{feed.title}: the source gave no rows, and nothing is stored; look at what is asked for")
    return result


def _require_use(feed: OpenFeed, taken: Sequence[PayloadResult], result: FeedResult) -> None:
    """Raise what kept everything out."""
    if result.accepted + result.revised + result.unchanged:
        return
    faults = [one.fault for one in taken if one.fault is not None]
    if faults:
        if len(faults) > 1:
            faults[0].args = (f"{faults[0]}; so could {len(faults) - 1} more payloads not be used",)
        raise faults[0]
    if result.refused:
        raise ContractError(
            f"{feed.title}: all {result.refused} rows were refused: {next(iter(result.reasons))}; "
            "they are in quarantine"
        )


def _stale(feed: OpenFeed, now: datetime) -> tuple[str, ...]:
    """What to say when nothing came and the newest value is older than it may be."""
    spec = feed.spec
    newest, check = feed.observations.newest(), spec.quality.checks.freshness
    if newest is None or spec.mode == "archive" or check.severity == "off":
        return ()
    late = now - spec.delay - newest
    if late <= (check.within or 3 * spec.step):
        return ()
    return (f"nothing new came; the newest value is of {newest:%Y-%m-%d %H:%M} UTC, {late // spec.step:,} steps late",)


def described(
    feed: OpenFeed,
    taken: Sequence[PayloadResult],
    *,
    faults: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> FeedResult:
    """Return what became of some payloads of a feed, added up."""
    observations = feed.observations
    reasons: Counter[str] = Counter()
    told = dict.fromkeys(warnings)
    for one in taken:
        reasons.update(one.reasons)
        told.update(dict.fromkeys(one.warnings))
    return FeedResult(
        payloads=len(taken),
        accepted=sum(one.appended.accepted for one in taken),
        revised=sum(one.appended.revised for one in taken),
        unchanged=sum(one.appended.unchanged for one in taken),
        refused=sum(one.refused for one in taken),
        thinned=sum(one.thinned for one in taken),
        reasons=dict(reasons.most_common()),
        warnings=tuple(told),
        faults=(*faults, *(str(one.fault) for one in taken if one.fault is not None)),
        newest=observations.newest(),
        version=observations.table.version,
    )
