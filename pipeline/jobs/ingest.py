"""The job `ingest`: what a product's feeds have new, judged row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pipeline.config import Feed, Product, Settings
from pipeline.errors import ContractError, NightcastError, NoDataError, RefusedError, StoreError, UpstreamError
from pipeline.ingest.fetch import fetch_payloads, is_asked_by_time, progress_of, windows_to_ask
from pipeline.ingest.payload import PayloadResult, ingest_payload
from pipeline.jobs.runner import Runner, plain
from pipeline.results import FeedResult, IngestResult
from pipeline.store.layout import FeedLayout
from pipeline.store.observations import Observations
from pipeline.store.receipts import Receipts


def ingest(
    product: Product,
    settings: Settings,
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
        main = _ingest(product.feed, settings, began, at, since, until, run)
    except (UpstreamError, RefusedError) as error:  # what is known in advance is taken in nevertheless
        main = error
    covariates = {}
    for name, feed in product.covariates.items():
        try:
            covariates[name] = _ingest(feed, settings, began, at, since, until, run)
        except (UpstreamError, RefusedError) as error:  # forecasts go on without it; the fault is told
            covariates[name] = described(feed, settings, [], faults=[str(error)])
    if isinstance(main, NightcastError):
        raise main
    return IngestResult(product=product.name, at=began, covariates=covariates, **dict(main))


def worst_checks(product: Product, settings: Settings, *, since: datetime) -> dict[str, Any] | None:
    """Return what the checks found in the worst of the payloads taken in since an instant; None without any."""
    receipts = Receipts(FeedLayout.of(product.feed, settings).receipts).recent(since)
    found = [receipt["checks"] for receipt in receipts if receipt.get("checks")]
    return max(found, key=lambda one: (not one["success"], len(one["refusals"]) + len(one["warnings"])), default=None)


def _ingest(
    feed: Feed,
    settings: Settings,
    began: datetime,
    at: datetime | None,
    since: datetime | None,
    until: datetime | None,
    run: Runner,
) -> FeedResult:
    damage = Observations.of(feed, settings).table.damage
    if damage is not None:  # nothing can be written on top, and to find nothing new would hide it
        raise StoreError(f"{feed.title}: the observations are damaged, {damage}; run `nightcast maintain --repair`")
    again = since is not None or until is not None
    progress = progress_of(feed, settings)
    history = not progress.read().loaded
    asked_by_time = not again and is_asked_by_time(feed, settings)
    taken: list[PayloadResult] = []
    for window in [(since, until)] if again else windows_to_ask(feed, settings, at=began):
        payloads = run(fetch_payloads, feed, settings, at=began, since=window[0], until=window[1], again=again)
        learnt = at or datetime.now(UTC)  # after the fetch: nobody knew it before
        done = [
            run(
                ingest_payload,
                payload,
                feed,
                settings,
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
            progress.note(window, sound=sound, until=min(window[1] or began, began))
    if not again and all(one.fault is None for one in taken):
        progress.finish()
    result = described(feed, settings, taken, warnings=_stale(feed, settings, began) if not taken else ())
    _require_use(feed, taken, result)
    if asked_by_time and result.newest is None:
        raise NoDataError(f"{feed.title}: the source gave no rows, and nothing is stored; look at what is asked for")
    return result


def _require_use(feed: Feed, taken: Sequence[PayloadResult], result: FeedResult) -> None:
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


def _stale(feed: Feed, settings: Settings, now: datetime) -> tuple[str, ...]:
    """What to say when nothing came and the newest value is older than it may be."""
    newest, check = Observations.of(feed, settings).newest(), feed.quality.checks.freshness
    if newest is None or feed.clock == "record" or check.severity == "off":
        return ()
    late = now - feed.delay - newest
    if late <= (check.within or 3 * feed.step):
        return ()
    return (f"nothing new came; the newest value is of {newest:%Y-%m-%d %H:%M} UTC, {late // feed.step:,} steps late",)


def described(
    feed: Feed,
    settings: Settings,
    taken: Sequence[PayloadResult],
    *,
    faults: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> FeedResult:
    """Return what became of some payloads of a feed, added up."""
    observations = Observations.of(feed, settings)
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
