"""The job `ingest`: what a product's feeds have new, judged row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from pipeline.config import Feed, Product, Settings
from pipeline.errors import ContractError, NightcastError
from pipeline.quality.fetch import fetch_payloads, note_progress, windows_to_ask
from pipeline.quality.intake import Taken, take_in
from pipeline.results import FeedResult, IngestResult
from pipeline.steps import Runner, plain
from pipeline.store.observations import Observations


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
    at = at or datetime.now(UTC)
    covariates = {}
    for name, feed in product.covariates.items():
        try:
            covariates[name] = _ingest(feed, settings, at, since, until, run)
        except NightcastError as error:  # forecasts go on without them; the fault is told
            covariates[name] = described(feed, settings, [], faults=[str(error)])
    result = _ingest(product.feed, settings, at, since, until, run)
    return IngestResult(product=product.name, at=at, covariates=covariates, **dict(result))


def _ingest(
    feed: Feed, settings: Settings, at: datetime, since: datetime | None, until: datetime | None, run: Runner
) -> FeedResult:
    again = since is not None or until is not None
    taken: list[Taken] = []
    sound = True
    for first, last in [(since, until)] if again else windows_to_ask(feed, settings, at=at):
        payloads = run(fetch_payloads, feed, settings, at=at, since=first, until=last, again=again)
        for place, payload in enumerate(payloads):
            newest = not again and place == len(payloads) - 1
            taken.append(run(take_in, payload, feed, settings, at=at, since=since, until=until, live=newest))
        sound = sound and all(one.fault is None for one in taken)
        if sound and not again:
            note_progress(feed, settings, min(last or at, at))
    result = described(feed, settings, taken)
    if taken and not result.accepted + result.revised + result.unchanged:
        for one in taken:
            if one.fault is not None:
                raise one.fault
        if result.refused:
            raise ContractError(
                f"{feed.title}: all {result.refused} rows were refused: {next(iter(result.reasons))}; "
                "they are in quarantine"
            )
    return result


def described(feed: Feed, settings: Settings, taken: Sequence[Taken], *, faults: Sequence[str] = ()) -> FeedResult:
    """Return what became of some payloads of a feed, added up."""
    observations = Observations.of(feed, settings)
    reasons: Counter[str] = Counter()
    warnings: Counter[str] = Counter()
    for one in taken:
        reasons.update(one.reasons)
        warnings.update(one.warnings)
    return FeedResult(
        payloads=len(taken),
        accepted=sum(one.appended.accepted for one in taken),
        revised=sum(one.appended.revised for one in taken),
        unchanged=sum(one.appended.unchanged for one in taken),
        refused=sum(one.refused for one in taken),
        thinned=sum(one.thinned for one in taken),
        reasons=dict(reasons.most_common()),
        warnings=tuple(warnings),
        faults=(*faults, *(str(one.fault) for one in taken if one.fault is not None)),
        newest=observations.newest(),
        version=observations.table.version,
    )
