"""The job `maintain`: verify every digest, compact tables, and delete files that no kept version needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from pipeline.errors import ContractError, SourceError, StoreError
from pipeline.features.cache import FrameCache
from pipeline.ingest.feed import OpenFeed
from pipeline.ingest.fetch import Received
from pipeline.ingest.payload import ingest_payload
from pipeline.ingest.release import DECISION, decide_again
from pipeline.jobs.job import Facts, Result, Runner, call
from pipeline.store import checksummed_json
from pipeline.store.delta.table import Table
from pipeline.store.objects import ObjectStore
from pipeline.store.receipts import Receipts
from pipeline.workspace import Workspace

KEPT = timedelta(days=7)
"""Unreferenced files are kept this long, because somebody may be reading them."""
LONGEST_RUN = timedelta(days=7)
"""MLflow runs that have not ended after this time belong to a process that is gone; no job runs longer."""
RESTORATION = "lost.json"
"""A file beside the receipts: the payloads of a repaired table must be ingested again, and how far that has come."""
_NOTHING_DONE: dict[str, Any] = {"done": [], "failed": []}


class MaintainedTable(Facts):
    """What maintenance did to one table."""

    table: str
    version: int
    compacted: int
    """Files merged into larger ones."""
    removed: int
    """Files deleted because no kept version needs them."""
    damage: tuple[str, ...]
    """What does not match its digest."""
    repaired: tuple[str, ...]
    """What was set aside."""


class MaintainResult(Result):
    """What maintenance found and did."""

    at: datetime
    tables: tuple[MaintainedTable, ...]
    payloads: int
    """Raw payloads whose digest was verified."""
    damage: tuple[str, ...]
    """Everything that does not match its digest."""
    reingested: int
    """Payloads ingested again after a repair."""

    @property
    def exit_code(self) -> int:
        """1 if there is damage."""
        return StoreError.exit_code if self.damage else 0


class _Target(NamedTuple):
    """A table to maintain: its name for people, the columns that its rows are sorted by, and the versions to keep."""

    name: str
    table: Table
    order: list[str]
    keep: Sequence[int] = ()


def maintain(
    ws: Workspace,
    *,
    repair: bool = False,
    at: datetime | None = None,
    run: Runner = call,
) -> MaintainResult:
    """Verify every digest of a product's stores, compact its tables, and delete files that no kept version needs.

    Versions that registered models were trained on are kept. A damaged table is not changed. With `repair`, damaged
    commits are set aside, and the payloads and releases since the last sound commit are ingested again. A file records
    this before the first row is removed; until everything is ingested again it counts as damage, and the next repair
    continues. MLflow runs of processes that were killed are marked as killed.

    Raises:
        StoreError: a store cannot be read or written.
        TrackingError: MLflow cannot be reached, so it is unknown which versions to keep.
    """
    clock = datetime.now(UTC)
    at = at or clock
    now = min(at, clock)  # files carry the time of the clock: one that is being written is never old
    ws.registry.end_lost_runs(now - LONGEST_RUN)
    trained_on = [one.table_version for one in ws.registry.versions() if one.table_version is not None]
    tables = []
    again = payloads = 0
    damage: list[str] = []
    for feed in ws.feeds:
        receipts = feed.layout.receipts
        # Lost rows may be of any age.
        announce = partial(receipts.put, RESTORATION, checksummed_json.dumps(_NOTHING_DONE))
        tables += [
            run(_maintain_table, target, now=now, repair=repair, announce=announce)
            for target in _tables_of_feed(feed, [] if feed.spec.is_covariate else trained_on)
            if target.table.exists
        ]
        if _read_restoration(receipts) is not None:
            count, errors = run(_restore, feed) if repair else (0, [])
            again, damage = again + count, damage + errors
        if _read_restoration(receipts) is not None:
            damage.append(
                f"{feed.title}: payloads that a repair removed are not all ingested again; "
                "run `nightcast maintain --repair`"
            )
        FrameCache(feed.layout.frames).evict()
        checked, errors = run(_check_raw, feed)
        payloads, damage = payloads + checked, damage + errors
    tables += [
        run(_maintain_table, target, now=now, repair=repair) for target in _tables_of_product(ws) if target.table.exists
    ]
    damage += [line for table in tables for line in table.damage]
    return MaintainResult(
        product=ws.product.name, at=at, tables=tuple(tables), payloads=payloads, damage=tuple(damage), reingested=again
    )


def _tables_of_feed(feed: OpenFeed, trained_on: Sequence[int]) -> Iterator[_Target]:
    quarantine, observations = feed.quarantine, feed.observations.table
    yield _Target(f"{feed.title}: observations", observations, ["valid_time", "location", "known_at"], trained_on)
    yield _Target(f"{feed.title}: quarantine", quarantine.table, ["quarantined_at", "valid_time", "location"])
    yield _Target(f"{feed.title}: decisions on quarantine", quarantine.decisions, [])


def _tables_of_product(ws: Workspace) -> Iterator[_Target]:
    yield _Target("forecasts", ws.forecasts.table, ["issue_time", "model", "valid_time", "location"])
    yield _Target("scores", ws.scores.table, [])
    yield _Target("ledger", ws.ledger.table, ["at"])
    yield _Target("live scores", ws.live_scores.table, ["issue_time", "variable"])
    yield _Target("score history", ws.score_history.table, ["challenger", "rival", "issue_time"])


def _maintain_table(
    target: _Target,
    *,
    now: datetime,
    repair: bool,
    announce: Callable[[], None] = lambda: None,
) -> MaintainedTable:
    """Repair, verify, compact and clean a table; `announce` is called before rows are removed that can be restored."""
    name, table, order, keep = target
    repaired = tuple(map(str, table.repair(announce))) if repair else ()
    damage = tuple(f"{name}: {line}" for line in table.verify())
    compacted = removed = 0
    if not damage:
        compacted = table.compact(order) if order else 0
        removed = len(table.vacuum(keep_versions=keep, older_than=KEPT, now=now))
        table.checkpoint()
    return MaintainedTable(
        table=name,
        version=table.version,
        compacted=compacted,
        removed=removed,
        damage=damage,
        repaired=repaired,
    )


def _read_restoration(receipts: ObjectStore) -> dict[str, Any] | None:
    """Return how far the restoration of lost rows has come; None if there is nothing to restore."""
    content = receipts.get(RESTORATION)
    return None if content is None else checksummed_json.loads(content) or _NOTHING_DONE


def _restore(feed: OpenFeed) -> tuple[int, list[str]]:
    """Ingest lost payloads and apply lost releases again; return the number of payloads, and errors.

    They are restored in their original order, each with its original time, because an older payload on top of a newer
    one that contradicts it would count as a correction. What fails is tried again the next time.
    """
    place = feed.layout.receipts
    state, count, errors = _read_restoration(place) or _NOTHING_DONE, 0, []
    done, failed = state["done"], state["failed"]
    try:
        receipts = [one for one in Receipts(place) if "payload" in one or DECISION in one]
    except StoreError as error:
        return 0, [str(error)]
    for order, receipt in sorted(((_original_order(one), one) for one in receipts), key=lambda pair: pair[0]):
        if order <= done and order not in failed:
            continue
        failed = [one for one in failed if one != order]
        try:
            if DECISION in receipt:
                decide_again(receipt, feed)
            else:
                _ingest_again(receipt, feed)
                count += 1
        except (StoreError, SourceError, ContractError) as error:
            errors.append(f"{feed.title}: cannot be ingested again: {error}")
            failed.append(order)
        done = max(done, order)
        place.put(RESTORATION, checksummed_json.dumps({"done": done, "failed": failed}))
    if not failed:
        place.delete(RESTORATION)
    return count, errors


def _original_order(receipt: dict[str, Any]) -> list[str]:
    """Return the sort key of a receipt: by time, then payloads by name as an ingest orders them, then releases."""
    at = datetime.fromisoformat(receipt["at"]).astimezone(UTC).isoformat(timespec="microseconds")
    if DECISION in receipt:
        return [at, "release", *sorted(row["id"] for row in receipt[DECISION]["rows"])[:1]]
    window = f"{receipt.get('since')} {receipt.get('until')}"
    return [at, "payload", receipt["name"], receipt["payload"], window]


def _ingest_again(receipt: dict[str, Any], feed: OpenFeed) -> None:
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
    count, errors = 0, []
    for digest in feed.raw.digests():
        count += 1
        try:
            feed.raw.get(digest)
        except StoreError as error:
            errors.append(str(error))
    return count, errors
