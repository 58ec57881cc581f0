"""The job `ingest`: fetch what is new in a product's feeds, check every row and store it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pipeline.errors import (
    ContractError,
    NightcastError,
    NoDataError,
    RefusedError,
    RefusedPayloadsError,
    StoreError,
    UnusablePayloadsError,
    UpstreamError,
)
from pipeline.ingest.feed import OpenFeed
from pipeline.ingest.fetch import fetch_payloads, time_ranges_to_query
from pipeline.ingest.payload import PayloadResult, ingest_payload
from pipeline.jobs.job import Result, RowCounts, Runner, call
from pipeline.steps import calendar_name, mean_length, period_name
from pipeline.workspace import Workspace


class FeedResult(RowCounts):
    """What was ingested from one feed."""

    payloads: int
    """Payloads that were decoded and checked."""
    refused: int
    """Rows put into quarantine."""
    thinned: int
    """Rows left out because another row represents the same time step."""
    reasons: dict[str, int]
    """Refused rows by reason."""
    warnings: tuple[str, ...]
    """What looked wrong and was kept."""
    faults: tuple[str, ...]
    """Why payloads could not be fetched or used."""
    newest: datetime | None
    """Newest valid time in the store."""
    newest_period: str | None = None
    """Name of the period that ends then, such as March 2024, if the feed's step is a calendar step."""
    version: int
    """Version of the observations table afterwards."""

    @property
    def exit_code(self) -> int:
        """3, an upstream failure, if a payload could not be fetched or used; the others are stored."""
        return UpstreamError.exit_code if self.faults else 0


class IngestResult(FeedResult, Result):
    """What one ingest stored."""

    at: datetime
    """Instant of the ingest."""
    covariates: dict[str, FeedResult] = {}
    """The same for each covariate."""


def ingest(
    ws: Workspace,
    *,
    at: datetime | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    run: Runner = call,
) -> IngestResult:
    """Fetch what is new, check it, store the good rows and quarantine the others; a second call adds nothing.

    A payload that cannot be fetched or used does not stop the others; the result lists it among its faults.

    Raises:
        SourceError: the source cannot be reached, or no payload could be read.
        NoDataError: all payloads were empty.
        ContractError: every row was refused.
    """
    began = at or datetime.now(UTC)
    target: FeedResult | NightcastError
    try:
        target = _ingest_feed(ws.feed, began, at, since, until, run)
    except (UpstreamError, RefusedError) as error:  # covariates are ingested all the same
        target = error
    covariates = {}
    for name, feed in ws.covariates.items():
        try:
            covariates[name] = _ingest_feed(feed, began, at, since, until, run)
        except (UpstreamError, RefusedError) as error:  # forecasts go on without it
            covariates[name] = summarise(feed, [], faults=[str(error)])
    if isinstance(target, NightcastError):
        raise target
    return IngestResult(product=ws.product.name, at=began, covariates=covariates, **dict(target))


def worst_report(ws: Workspace, *, since: datetime) -> dict[str, Any] | None:
    """Return the validation report of the worst payload ingested since an instant; None if there is no report."""
    receipts = ws.feed.receipts.recent(since)
    reports = [receipt["checks"] for receipt in receipts if receipt.get("checks")]
    return max(reports, key=lambda one: (not one["success"], len(one["refusals"]) + len(one["warnings"])), default=None)


def summarise(
    feed: OpenFeed,
    payloads: Sequence[PayloadResult],
    *,
    faults: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> FeedResult:
    """Return the results of some payloads of a feed, added up; each warning is listed once."""
    reasons: Counter[str] = Counter()
    distinct = dict.fromkeys(warnings)
    for payload in payloads:
        reasons.update(payload.reasons)
        distinct.update(dict.fromkeys(payload.warnings))
    newest = feed.observations.newest()
    return FeedResult(
        payloads=len(payloads),
        added=sum(payload.appended.added for payload in payloads),
        revised=sum(payload.appended.revised for payload in payloads),
        unchanged=sum(payload.appended.unchanged for payload in payloads),
        refused=sum(payload.refused for payload in payloads),
        thinned=sum(payload.downsampled for payload in payloads),
        reasons=dict(reasons.most_common()),
        warnings=tuple(distinct),
        faults=(*faults, *(str(payload.fault) for payload in payloads if payload.fault is not None)),
        newest=newest,
        newest_period=calendar_name(newest, feed.spec.step),
        version=feed.observations.table.version,
    )


def _ingest_feed(
    feed: OpenFeed,
    began: datetime,
    at: datetime | None,
    since: datetime | None,
    until: datetime | None,
    run: Runner,
) -> FeedResult:
    damage = feed.observations.table.damage
    if damage is not None:  # nothing can be appended, and "nothing new" would hide it
        raise StoreError(f"{feed.title}: the observations are damaged, {damage}; run `nightcast maintain --repair`")
    again = since is not None or until is not None
    progress = feed.progress
    history = not progress.read().loaded
    by_time = not again and feed.source.about.supports_time_range
    results: list[PayloadResult] = []
    for fetched in [(since, until)] if again else time_ranges_to_query(feed, at=began):
        payloads = run(fetch_payloads, feed, at=began, since=fetched[0], until=fetched[1], again=again)
        known_at = at or datetime.now(UTC)  # after the fetch: nobody knew the values before
        done = [
            run(
                ingest_payload,
                payload,
                feed,
                at=known_at,
                since=since,
                until=until,
                history=history,
                live=not again and number == len(payloads),
            )
            for number, payload in enumerate(payloads, 1)
        ]
        results += done
        if by_time:
            sound = all(one.fault is None for one in done)
            progress.add_range(fetched, complete=sound, until=min(fetched[1] or began, began))
    if not again and all(one.fault is None for one in results):
        progress.finish_first_load()
    result = summarise(feed, results, warnings=() if results else _stale_warnings(feed, began))
    _raise_if_nothing_usable(feed, results, result)
    if by_time and result.newest is None:
        raise NoDataError(f"{feed.title}: the source returned no rows, and nothing is stored; check what is queried")
    return result


def _raise_if_nothing_usable(feed: OpenFeed, results: Sequence[PayloadResult], result: FeedResult) -> None:
    if result.added + result.revised + result.unchanged:
        return
    faults = [one.fault for one in results if one.fault is not None]
    if len(faults) == 1:
        raise faults[0]
    if faults:
        kind = UnusablePayloadsError if isinstance(faults[0], UpstreamError) else RefusedPayloadsError
        raise kind(faults[0], more=len(faults) - 1) from faults[0]
    if result.refused:
        raise ContractError(
            f"{feed.title}: all {result.refused} rows were refused: {next(iter(result.reasons))}; "
            "they are in quarantine"
        )


def _stale_warnings(feed: OpenFeed, now: datetime) -> tuple[str, ...]:
    """Return a warning if the newest value is older than the freshness check allows."""
    spec = feed.spec
    newest, check = feed.observations.newest(), spec.quality.checks.freshness
    if newest is None or spec.mode == "archive" or check.severity == "off":
        return ()
    late = now - spec.delay - newest
    step = mean_length(spec.step)
    if late <= (check.within or 3 * step):
        return ()
    return (f"nothing new; the newest value is of {period_name(newest, spec.step)}, {late // step:,} steps late",)
