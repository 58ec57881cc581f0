"""The job `maintain`: every digest checked, many small files made few, and what nothing names deleted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from pipeline.config import Feed, Product, Settings
from pipeline.errors import StoreError
from pipeline.features.cache import FrameCache
from pipeline.quality.fetch import Received
from pipeline.quality.intake import take_in
from pipeline.quality.quarantine import Quarantine
from pipeline.registry.ledger import Ledger
from pipeline.registry.tracking import Registry
from pipeline.results import MaintainedTable, MaintainResult
from pipeline.steps import Runner, plain
from pipeline.store.forecasts import Forecasts
from pipeline.store.layout import FeedLayout
from pipeline.store.observations import Observations
from pipeline.store.raw import RawStore
from pipeline.store.receipts import Receipts
from pipeline.store.table import Table
from pipeline.verification.scores import Scores

KEPT = timedelta(days=7)
"""Files that nothing names are kept this long: somebody may be reading them."""


def maintain(
    product: Product,
    settings: Settings,
    *,
    repair: bool = False,
    at: datetime | None = None,
    run: Runner = plain,
) -> MaintainResult:
    """Check every digest of a product's stores, compact its tables, and delete what no kept version names.

    Versions that registered models were trained on are kept. A damaged table is left as it is. With `repair`, its
    damaged commits are set aside, and the payloads taken in since the last sound one are taken in again.

    Raises:
        StoreError: a store cannot be read or written.
        TrackingError: MLflow cannot tell which versions to keep.
    """
    at = at or datetime.now(UTC)
    trained_on = [one.table_version for one in Registry(settings, product.name).versions()]
    keep = [version for version in trained_on if version is not None]
    tables = []
    again = payloads = 0
    damage: list[str] = []
    for feed in product.feeds:
        lost_since: datetime | None = None
        for place, (name, table, order) in enumerate(_tables_of(feed, settings)):
            one, lost = run(_maintain, name, table, order, keep if place == 0 and not feed.name else [], repair, at)
            tables.append(one)
            lost_since = min(filter(None, (lost_since, lost)), default=None)
        if lost_since is not None:
            again += run(_take_again, feed, settings, lost_since)
        FrameCache.of(feed, settings).evict()
        checked, wrong = run(_check_raw, feed, settings)
        payloads, damage = payloads + checked, damage + wrong
    for name, table, order in _tables(product, settings):
        tables.append(run(_maintain, name, table, order, [], repair, at)[0])
    damage += [line for one in tables for line in one.damage]
    return MaintainResult(
        product=product.name, at=at, tables=tuple(tables), payloads=payloads, damage=tuple(damage), taken_again=again
    )


Kept = tuple[str, Table, list[str]]
"""A table, what people call it, and the columns that its rows are ordered by."""


def _tables_of(feed: Feed, settings: Settings) -> Iterator[Kept]:
    yield f"{feed.title}: observations", Observations.of(feed, settings).table, ["valid_time", "location", "known_at"]
    quarantine = Quarantine.of(feed, settings)
    yield f"{feed.title}: quarantine", quarantine.table, ["quarantined_at", "valid_time", "location"]
    yield f"{feed.title}: decisions on quarantine", quarantine.decisions, []


def _tables(product: Product, settings: Settings) -> Iterator[Kept]:
    yield "forecasts", Forecasts.of(product, settings).table, ["issue_time", "model", "valid_time", "location"]
    yield "scores", Scores.of(product, settings).table, []
    yield "ledger", Ledger.of(product, settings).table, ["at"]


def _maintain(
    name: str, table: Table, order: list[str], keep: list[int], repair: bool, at: datetime
) -> tuple[MaintainedTable, datetime | None]:
    """Return what was done to a table, and since when its rows may be lost."""
    if not table.exists:
        return MaintainedTable(table=name, version=-1, compacted=0, removed=0, damage=(), repaired=()), None
    lost_since, told = table.repair() if repair else (None, ())
    damage = tuple(f"{name}: {line}" for line in table.verify())
    compacted = removed = 0
    if not damage:
        compacted = table.compact(order) if order else 0
        removed = len(table.vacuum(keep_versions=keep, older_than=KEPT, now=at))
        table.checkpoint()
    one = MaintainedTable(
        table=name,
        version=table.version,
        compacted=compacted,
        removed=removed,
        damage=damage,
        repaired=tuple(told),
    )
    return one, lost_since


def _take_again(feed: Feed, settings: Settings, since: datetime) -> int:
    """Take in once more what was taken in since an instant, each payload as learnt when it was."""
    count = 0
    for receipt in list(Receipts(FeedLayout.of(feed, settings).receipts).recent(since)):
        if "payload" not in receipt:  # a finished piece of a backfill; its payloads have receipts of their own
            continue
        since_then, until_then = (
            datetime.fromisoformat(text) if text else None for text in (receipt.get("since"), receipt.get("until"))
        )
        received = Received(receipt["name"], receipt["payload"])
        at = datetime.fromisoformat(receipt["at"])
        take_in(received, feed, settings, at=at, since=since_then, until=until_then)
        count += 1
    return count


def _check_raw(feed: Feed, settings: Settings) -> tuple[int, list[str]]:
    raw = RawStore(FeedLayout.of(feed, settings).raw)
    count, wrong = 0, []
    for digest in raw.digests():
        count += 1
        try:
            raw.get(digest)
        except StoreError as error:
            wrong.append(str(error))
    return count, wrong
