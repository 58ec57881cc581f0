"""Damage by power loss or a bad disk is noticed, the last intact version is served, and repair restores the rest."""

from __future__ import annotations

import logging
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import StoreError
from pipeline.store.delta.table import Table
from pipeline.store.objects import open_store
from pipeline.store.raw import Payload, RawStore
from pipeline.store.receipts import Receipts
from tests.tables import add, folder, keys, newest_log, newest_record, open_table

Damage = Callable[[Path], object]
DAMAGE: dict[str, Damage] = {
    "emptied": lambda log: log.write_bytes(b""),
    "zeros": lambda log: log.write_bytes(b"\0" * log.stat().st_size),
    "torn in a line": lambda log: log.write_bytes(log.read_bytes()[:-20]),
    "torn in the middle": lambda log: log.write_bytes(log.read_bytes()[: log.stat().st_size // 2]),
    "torn between two lines": lambda log: log.write_bytes(log.read_bytes().splitlines(keepends=True)[0]),
    "missing": lambda log: log.unlink(),
    "another": lambda log: shutil.copy(log.with_name(f"{2:020}.json"), log),
}


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Three keys, a commit each."""
    table = open_table(open_store(tmp_path / "table"))
    for key in (1, 2, 3):
        add(table, key)
    return table


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_newest_commit_is_noticed_and_the_last_intact_version_is_served(
    table: Table, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    DAMAGE[damage](newest_log(table))
    fresh = open_table(table.store)
    with caplog.at_level(logging.WARNING, "pipeline.store"):
        assert keys(fresh) == [1, 2]
        assert keys(table) == [1, 2]  # also for a process that had read version 3
    assert fresh.version == 2
    problem = "is missing" if damage == "missing" else "is torn or altered"
    assert fresh.fault == f"commit 3 {problem}; version 2 is served"
    assert [record.getMessage() for record in caplog.records] == [f"{table.uri}: {fresh.fault}"]  # once
    assert fresh.verify() == [f"{table.uri}: {fresh.fault}"]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_recorded_commit_is_never_overwritten_and_repair_restores_it(table: Table, damage: str) -> None:
    before = newest_log(table).read_bytes()
    DAMAGE[damage](newest_log(table))
    fresh = open_table(table.store)
    for write in (lambda: add(fresh, 4), lambda: fresh.replace_partition("2001-01", fresh.read()), fresh.checkpoint):
        with pytest.raises(StoreError, match=r"cannot be written, commit 3 is .*; run `nightcast maintain --repair`$"):
            write()
    (step,) = fresh.repair()
    assert (step.subject, step.outcome, newest_log(table).read_bytes()) == ("commit 3", "restored", before)
    assert (keys(fresh), fresh.fault, fresh.verify()) == ([1, 2, 3], None, [])
    assert add(fresh, 3, 4) == [4]
    assert fresh.repair() == ()


@pytest.mark.parametrize("damage", [name for name in DAMAGE if name != "another"])
def test_a_torn_commit_without_a_record_is_moved_aside(table: Table, damage: str) -> None:
    # The power failed between the commit and its record: no caller was told that key 3 is stored.
    newest_record(table).unlink()
    DAMAGE[damage](newest_log(table))
    fresh = open_table(table.store)
    assert keys(fresh) == [1, 2]
    assert add(fresh, 3, 4) == [3, 4]
    assert (keys(fresh), fresh.fault) == ([1, 2, 3, 4], None)
    moved = list((folder(table) / "_manifest" / "aside").glob("*"))
    assert len(moved) == (0 if damage == "missing" else 1)


def test_repair_removes_a_torn_commit_without_a_record_and_loses_nothing(table: Table) -> None:
    newest_record(table).unlink()
    newest_log(table).write_bytes(b"")
    (step,) = open_table(table.store).repair()
    assert (step.subject, step.outcome, len(step.moved_to)) == ("half-written commit 3", "unconfirmed", 1)
    assert (keys(open_table(table.store)), table.fault) == ([1, 2], None)


def test_an_intact_commit_without_a_record_counts_and_is_recorded_by_the_next_writer(table: Table) -> None:
    record = newest_record(table)
    content = record.read_bytes()
    record.unlink()
    fresh = open_table(table.store)
    assert (keys(fresh), fresh.fault) == ([1, 2, 3], None)
    add(fresh, 4)
    assert record.read_bytes() == content


def test_a_commit_whose_data_did_not_reach_the_disk_does_not_count(table: Table) -> None:
    newest_record(table).unlink()
    snapshot = table.versions.newest()
    assert snapshot is not None
    data = (
        folder(table) / max(snapshot.scan.files, key=lambda file: (folder(table) / file.name).stat().st_mtime_ns).name
    )
    data.write_bytes(b"")
    fresh = open_table(table.store)
    assert keys(fresh) == [1, 2]
    assert fresh.fault == f"commit 3 refers to {data.name}, which is missing or incomplete; version 2 is served"
    assert add(fresh, 3) == [3]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_older_commit_is_noticed_and_restored(table: Table, damage: str) -> None:
    add(table, 4)
    DAMAGE[damage](folder(table) / "_delta_log" / f"{3:020}.json")
    fresh = open_table(table.store)
    assert keys(fresh) == [1, 2]
    with pytest.raises(StoreError, match="maintain --repair"):
        add(fresh, 5)
    assert {step.outcome for step in fresh.repair()} == {"restored"}
    assert (keys(fresh), fresh.fault) == ([1, 2, 3, 4], None)


def test_a_damaged_commit_with_a_damaged_record_is_lost_and_reported(table: Table) -> None:
    newest_record(table).write_bytes(b"{}")
    newest_log(table).write_bytes(b"")
    fresh = open_table(table.store)
    with pytest.raises(StoreError, match="maintain --repair"):
        add(fresh, 4)
    (step,) = fresh.repair()
    assert (step.subject, step.outcome) == ("commit 3", "lost")
    assert (keys(fresh), fresh.fault) == ([1, 2], None)
    assert add(fresh, 3) == [3]


def test_a_damaged_record_is_reported_and_written_again(table: Table) -> None:
    record = newest_record(table)
    content = record.read_bytes()
    record.write_bytes(content.replace(b'"version": 3', b'"version": 7'))
    fresh = open_table(table.store)
    assert (keys(fresh), fresh.fault) == ([1, 2, 3], "the record of commit 3 is torn or altered")
    add(fresh, 4)
    assert (record.read_bytes(), fresh.fault) == (content, None)


def test_repair_removes_a_damaged_data_file(table: Table) -> None:
    data = min(folder(table).glob("*.parquet"))
    data.write_bytes(data.read_bytes()[:-1] + b"x")
    fresh = open_table(table.store)
    with pytest.raises(StoreError, match=f"{data}: data file is altered"):
        keys(fresh)
    (step,) = fresh.repair()
    assert (step.subject, step.outcome) == (f"data file {data.name}", "lost")
    assert (len(keys(fresh)), fresh.verify()) == (2, [])
    add(fresh, 1, 2, 3)
    assert keys(fresh) == [1, 2, 3]


def test_repair_removes_a_damaged_checkpoint(table: Table) -> None:
    table.checkpoint()
    add(table, 4)
    (path,) = (folder(table) / "_delta_log").glob("*.checkpoint.parquet")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    fresh = open_table(table.store)
    with pytest.raises(StoreError, match="checkpoint 3 is missing, torn or altered; run `nightcast maintain --repair`"):
        keys(fresh)
    assert fresh.exists
    assert [step.outcome for step in fresh.repair()] == ["redundant"]
    assert (keys(fresh), fresh.verify()) == ([1, 2, 3, 4], [])
    fresh.checkpoint()
    assert keys(open_table(table.store)) == [1, 2, 3, 4]


@pytest.mark.parametrize("damage", ["emptied", "zeros", "another version"])
def test_a_damaged_last_checkpoint_file_is_noticed_or_harmless_and_repaired(table: Table, damage: str) -> None:
    table.checkpoint()
    add(table, 4)
    pointer = folder(table) / "_delta_log" / "_last_checkpoint"
    content = pointer.read_bytes()
    pointer.write_bytes(
        {"emptied": b"", "zeros": b"\0" * len(content), "another version": content.replace(b":3,", b":2,")}[damage]
    )
    fresh = open_table(table.store)
    try:
        assert keys(fresh) == [1, 2, 3, 4]
    except StoreError as error:
        assert "\n" not in str(error)
    fresh.repair()
    assert (keys(open_table(table.store)), fresh.verify()) == ([1, 2, 3, 4], [])


def test_none_of_300_flipped_bits_goes_unnoticed(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    table = open_table(store / "table")
    versions: list[list[int]] = [[]]
    for key in range(6):
        add(table, key)
        versions.append(keys(table))
        if key == 2:
            table.checkpoint()
    raw, receipts = RawStore(store / "raw"), Receipts(store / "receipts")
    payloads = [Payload.of(f"wind {n}.csv", b"time,A\n2001-01-01,%d\n" % n, {"part": str(n)}) for n in range(4)]
    written = [{"payload": one.digest, "at": f"2001-01-0{n + 1}T00:00:00+00:00"} for n, one in enumerate(payloads)]
    for payload, receipt in zip(payloads, written, strict=True):
        raw.put(payload)
        receipts.write(payload.digest, receipt)
    kinds = {
        "data": "table/*.parquet",
        "log": "table/_delta_log/*.json",
        "checkpoint": "table/_delta_log/*.checkpoint.parquet",
        "last checkpoint": "table/_delta_log/_last_checkpoint",
        "manifest": "table/_manifest/*/*.json",
        "payload": "raw/*/*",
        "receipt": "receipts/*/*.json",
    }
    files = {kind: sorted(tmp_path.glob(pattern)) for kind, pattern in kinds.items()}
    assert all(files.values())
    chance = random.Random(20260101)  # noqa: S311 - the same flips each time
    outcomes: Counter[tuple[str, str]] = Counter()
    for n in range(300):
        kind = list(kinds)[n % len(kinds)]
        path = chance.choice(files[kind])
        whole = path.read_bytes()
        flipped = bytearray(whole)
        bit = chance.randrange(len(whole) * 8)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        outcomes[kind, _read_everything(open_table(store / "table"), raw, receipts, versions, payloads, written)] += 1
        path.write_bytes(whole)
    silent = {key: count for key, count in outcomes.items() if key[1].startswith("silently")}
    assert not silent, (silent, outcomes)
    for kind in ("data", "payload", "receipt"):
        assert outcomes[kind, "refused"] > 30, outcomes
    assert outcomes["log", "older, reported"] > 10, outcomes
    assert sum(outcomes.values()) == 300


def _read_everything(
    table: Table,
    raw: RawStore,
    receipts: Receipts,
    versions: list[list[int]],
    payloads: list[Payload],
    written: list[dict[str, str]],
) -> str:
    try:
        rows = table.read()
        read = sorted(rows["key"].to_pylist())
        fault = table.fault
        same = [raw.get(one.digest) for one in payloads] == payloads
        same &= sorted(receipts, key=lambda one: one["at"]) == written
    except StoreError as error:
        assert "\n" not in str(error)
        return "refused"
    if not same or set(rows["who"].to_pylist()) - {"me"} or set(rows["month"].to_pylist()) - {"2001-01"}:
        return "silently altered"
    if read == versions[-1]:
        return "same" if fault is None else "same, reported"
    if fault is None:
        return f"silently {read}"
    return "older, reported" if read in versions else f"silently {read}, though reported as {fault}"
