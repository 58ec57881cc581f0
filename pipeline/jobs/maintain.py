"""The job `maintain`: every digest checked, many small files made few, and what nothing names deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.errors import ContractError, SourceError, StoreError
from pipeline.features.cache import FrameCache
from pipeline.ingest.feed import OpenFeed
from pipeline.ingest.fetch import Received
from pipeline.ingest.payload import ingest_payload
from pipeline.ingest.release import decide_again
from pipeline.jobs.runner import Runner, plain
from pipeline.results import MaintainedTable, MaintainResult
from pipeline.store import checksummed_json
from pipeline.store.delta.table import Table
from pipeline.store.objects import ObjectStore
from pipeline.store.receipts import Receipts
from pipeline.workspace import Workspace

KEPT = timedelta(days=7)
"""Files that nothing names are kept this long: somebody may be reading them."""
LOST = "lost.json"
"""Beside the receipts: that payloads are to be taken in again, and how many were. It is gone once all were."""


def maintain(
    ws: Workspace,
    *,
    repair: bool = False,
    at: datetime | None = None,
    run: Runner = plain,
) -> MaintainResult:
    """Check every digest of a product's stores, compact its tables, and delete what no kept version names.

    Versions that registered models were trained on are kept. A damaged table is left as it is. With `repair`, its
    damaged commits are set aside, and the payloads taken in since the last sound one are taken in again, as are the
    releases. That this is to be done is on the disk before the first row goes: until all is done it counts as damage,
    and the next repair goes on with it.

    Raises:
        StoreError: a store cannot be read or written.
        TrackingError: MLflow cannot tell which versions to keep.
    """
    clock = datetime.now(UTC)
    at = at or clock
    before = min(at, clock) - KEPT  # files have the time of the clock: one that is being written is never old
    trained_on = [one.table_version for one in ws.registry.versions()]
    keep = [version for version in trained_on if version is not None]
    tables = []
    again = payloads = 0
    damage: list[str] = []
    for feed in ws.feeds:
        place = feed.layout.receipts
        for number, (name, table, order) in enumerate(_tables_of(feed)):
            if table.exists:
                kept = keep if number == 0 and not feed.spec.is_covariate else []
                tables.append(run(_maintain, name, table, order, kept, repair, before, _Losing(place)))
        if _lost(place) is not None:
            count, wrong = run(_take_again, feed) if repair else (0, [])
            again, damage = again + count, damage + wrong
        if _lost(place) is not None:
            damage.append(
                f"{feed.title}: not all that a repair took out was taken in again; run `nightcast maintain --repair`"
            )
        FrameCache(feed.layout.frames).evict()
        checked, wrong = run(_check_raw, feed)
        payloads, damage = payloads + checked, damage + wrong
    for name, table, order in _tables(ws):
        if table.exists:
            tables.append(run(_maintain, name, table, order, [], repair, before))
    damage += [line for one in tables for line in one.damage]
    return MaintainResult(
        product=ws.product.name, at=at, tables=tuple(tables), payloads=payloads, damage=tuple(damage), taken_again=again
    )


Kept = tuple[str, Table, list[str]]
"""A table, what people call it, and the columns that its rows are ordered by."""


def _tables_of(feed: OpenFeed) -> Iterator[Kept]:
    yield f"{feed.title}: observations", feed.observations.table, ["valid_time", "location", "known_at"]
    quarantine = feed.quarantine
    yield f"{feed.title}: quarantine", quarantine.table, ["quarantined_at", "valid_time", "location"]
    yield f"{feed.title}: decisions on quarantine", quarantine.decisions, []


def _tables(ws: Workspace) -> Iterator[Kept]:
    yield "forecasts", ws.forecasts.table, ["issue_time", "model", "valid_time", "location"]
    yield "scores", ws.scores.table, []
    yield "ledger", ws.ledger.table, ["at"]


def _maintain(
    name: str,
    table: Table,
    order: list[str],
    keep: list[int],
    repair: bool,
    before: datetime,
    losing: Callable[[], None] = lambda: None,
) -> MaintainedTable:
    """Return what was done to a table; `losing` is called before rows are taken out that may be had again."""
    told = tuple(map(str, table.repair(losing))) if repair else ()
    damage = tuple(f"{name}: {line}" for line in table.verify())
    compacted = removed = 0
    if not damage:
        compacted = table.compact(order) if order else 0
        removed = len(table.vacuum(keep_versions=keep, older_than=timedelta(0), now=before))
        table.checkpoint()
    return MaintainedTable(
        table=name,
        version=table.version,
        compacted=compacted,
        removed=removed,
        damage=damage,
        repaired=tuple(told),
    )


class _Losing:
    """Called before rows are taken out of a feed's tables: notes that its payloads are to be taken in again."""

    def __init__(self, place: ObjectStore) -> None:
        self._place = place

    def __call__(self) -> None:
        self._place.put(LOST, checksummed_json.dumps(_ALL))


_ALL: dict[str, Any] = {"done": [], "failed": []}
"""Rows of any age may be in what is taken out: all is to be done again, and nothing of it is done yet."""


def _lost(place: ObjectStore) -> dict[str, Any] | None:
    """Return how far what is to be done again was done; None when nothing is to be."""
    content = place.get(LOST)
    return None if content is None else checksummed_json.loads(content) or _ALL


def _take_again(feed: OpenFeed) -> tuple[int, list[str]]:
    """Do again what was done before rows were lost, each payload as learnt when it was; return how many, and faults.

    In the order of then, and going on where it was interrupted: an older payload on top of a newer one that contradicts
    it would be a correction. What fails is told and tried again the next time.
    """
    place = feed.layout.receipts
    lost, count, wrong = _lost(place) or _ALL, 0, []
    done, failed = lost["done"], lost["failed"]
    try:
        receipts = [one for one in Receipts(place) if "payload" in one or "release" in one]
    except StoreError as error:
        return 0, [str(error)]
    for order, receipt in sorted(((_order(one), one) for one in receipts), key=lambda pair: pair[0]):
        if order <= done and order not in failed:
            continue
        failed = [one for one in failed if one != order]
        try:
            if "release" in receipt:
                decide_again(receipt, feed)
            else:
                _take_one_again(receipt, feed)
                count += 1
        except (StoreError, SourceError, ContractError) as error:
            wrong.append(f"{feed.title}: cannot be taken in again: {error}")
            failed.append(order)
        done = max(done, order)
        place.put(LOST, checksummed_json.dumps({"done": done, "failed": failed}))
    if not failed:
        place.delete(LOST)
    return count, wrong


def _order(receipt: dict[str, Any]) -> list[str]:
    """By time; then payloads by name, as an ingest takes them in; then what was released of them."""
    at = datetime.fromisoformat(receipt["at"]).astimezone(UTC).isoformat(timespec="microseconds")
    if "release" in receipt:
        return [at, "release", *sorted(row["id"] for row in receipt["release"]["rows"])[:1]]
    window = f"{receipt.get('since')} {receipt.get('until')}"
    return [at, "payload", receipt["name"], receipt["payload"], window]


def _take_one_again(receipt: dict[str, Any], feed: OpenFeed) -> None:
    since, until = (
        datetime.fromisoformat(text) if text else None for text in (receipt.get("since"), receipt.get("until"))
    )
    ingest_payload(
        Received(receipt["name"], receipt["payload"], known=receipt.get("known", False)),
        feed,
        at=datetime.fromisoformat(receipt["at"]),
        since=since,
        until=until,
        history=receipt.get("history", False),
    )


def _check_raw(feed: OpenFeed) -> tuple[int, list[str]]:
    count, wrong = 0, []
    for digest in feed.raw.digests():
        count += 1
        try:
            feed.raw.get(digest)
        except StoreError as error:
            wrong.append(str(error))
    return count, wrong
