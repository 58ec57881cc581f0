"""F4, F5: what a power loss or a bad disk leaves is noticed, the last good version is served, repair brings back."""

from __future__ import annotations

import logging
import random
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.errors import StoreError
from pipeline.store.delta.digests import forget_checks
from pipeline.store.delta.table import Table
from pipeline.store.objects import open_store
from pipeline.store.raw import Payload, RawStore
from pipeline.store.receipts import Receipts
from tests.faults.samples import add, folder, keys, newest_log, newest_record, table_at

Damage = Callable[[Path], object]
DAMAGE: dict[str, Damage] = {
    "emptied": lambda log: log.write_bytes(b""),
    "zeros": lambda log: log.write_bytes(b"\0" * log.stat().st_size),
    "torn in a line": lambda log: log.write_bytes(log.read_bytes()[:-20]),
    "torn in the middle": lambda log: log.write_bytes(log.read_bytes()[: log.stat().st_size // 2]),
    "torn between two lines": lambda log: log.write_bytes(log.read_bytes().splitlines(keepends=True)[0]),
    "gone": lambda log: log.unlink(),
    "another": lambda log: shutil.copy(log.with_name(f"{2:020}.json"), log),
}


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Three keys, a commit each."""
    table = table_at(open_store(tmp_path / "table"))
    for key in (1, 2, 3):
        add(table, key)
    return table


@pytest.mark.parametrize("how", DAMAGE)
def test_f4_a_damaged_newest_commit_is_noticed_and_the_last_good_version_is_served(
    table: Table, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    DAMAGE[how](newest_log(table))
    fresh = table_at(table.place)
    with caplog.at_level(logging.WARNING, "nightcast.store"):
        assert keys(fresh) == [1, 2]
        assert keys(table) == [1, 2]  # who has seen the newer version does not go on with it
    assert fresh.version == 2
    problem = "is missing" if how == "gone" else "is torn or altered"
    assert fresh.fault == f"commit 3 {problem}; version 2 is served"
    assert [record.getMessage() for record in caplog.records] == [f"{table.uri}: {fresh.fault}"]  # once
    assert fresh.verify() == [f"{table.uri}: {fresh.fault}"]


@pytest.mark.parametrize("how", DAMAGE)
def test_f4_nothing_is_written_over_an_acknowledged_commit_and_repair_brings_it_back(table: Table, how: str) -> None:
    before = newest_log(table).read_bytes()
    DAMAGE[how](newest_log(table))
    fresh = table_at(table.place)
    for write in (lambda: add(fresh, 4), lambda: fresh.replace_partition("2001-01", fresh.read()), fresh.checkpoint):
        with pytest.raises(StoreError, match=r"cannot be written, commit 3 is .*; run `nightcast maintain --repair`$"):
            write()
    done = fresh.repair()
    assert (done.lost_since, newest_log(table).read_bytes()) == (None, before)
    assert len(done.told) == 1 and done.told[0].startswith("commit 3 was brought back from its record")
    assert (keys(fresh), fresh.fault, fresh.verify()) == ([1, 2, 3], None, [])
    assert add(fresh, 3, 4) == [4]
    assert fresh.repair() == (None, ())


@pytest.mark.parametrize("how", [how for how in DAMAGE if how != "another"])
def test_f4_a_commit_that_was_never_acknowledged_is_moved_out_of_the_way(table: Table, how: str) -> None:
    # The power went between the commit and its record: nobody was told that key 3 is kept.
    newest_record(table).unlink()
    DAMAGE[how](newest_log(table))
    fresh = table_at(table.place)
    assert keys(fresh) == [1, 2]
    assert add(fresh, 3, 4) == [3, 4]
    assert (keys(fresh), fresh.fault) == ([1, 2, 3, 4], None)
    kept = list((folder(table) / "_manifest" / "aside").glob("*"))
    assert len(kept) == (0 if how == "gone" else 1)


def test_f4_repair_of_a_commit_that_was_never_acknowledged_loses_nothing(table: Table) -> None:
    newest_record(table).unlink()
    newest_log(table).write_bytes(b"")
    done = table_at(table.place).repair()
    assert done.lost_since is None
    assert done.told[0].startswith(
        "half-written commit 3, of which nobody was told, what was there is kept as _manifest"
    )
    assert (keys(table_at(table.place)), table.fault) == ([1, 2], None)


def test_f1_a_whole_commit_without_its_record_counts_and_is_recorded_by_the_next_writer(table: Table) -> None:
    record = newest_record(table)
    content = record.read_bytes()
    record.unlink()
    fresh = table_at(table.place)
    assert (keys(fresh), fresh.fault) == ([1, 2, 3], None)
    add(fresh, 4)
    assert record.read_bytes() == content


def test_f4_a_commit_whose_data_did_not_reach_the_disk_does_not_count(table: Table) -> None:
    newest_record(table).unlink()
    view = table.versions.newest()
    assert view is not None
    data = folder(table) / max(view.scan.files, key=lambda file: (folder(table) / file.name).stat().st_mtime_ns).name
    data.write_bytes(b"")
    fresh = table_at(table.place)
    assert keys(fresh) == [1, 2]
    assert "names " in str(fresh.fault) and "which is not whole" in str(fresh.fault)
    assert add(fresh, 3) == [3]


@pytest.mark.parametrize("how", DAMAGE)
def test_f4_a_damaged_commit_in_the_middle_is_noticed_and_brought_back(table: Table, how: str) -> None:
    add(table, 4)
    DAMAGE[how](folder(table) / "_delta_log" / f"{3:020}.json")
    fresh = table_at(table.place)
    assert keys(fresh) == [1, 2]
    with pytest.raises(StoreError, match="maintain --repair"):
        add(fresh, 5)
    assert fresh.repair().lost_since is None
    assert (keys(fresh), fresh.fault) == ([1, 2, 3, 4], None)


def test_f4_what_has_no_sound_record_either_is_lost_and_told(table: Table) -> None:
    newest_record(table).write_bytes(b"{}")
    newest_log(table).write_bytes(b"")
    fresh = table_at(table.place)
    with pytest.raises(StoreError, match="maintain --repair"):
        add(fresh, 4)
    done = fresh.repair()
    assert done.lost_since == datetime.min.replace(tzinfo=UTC)
    assert "commits 3 to 3 are lost" in done.told[0]
    assert (keys(fresh), fresh.fault) == ([1, 2], None)
    assert add(fresh, 3) == [3]


def test_f5_a_damaged_record_is_told_and_written_again(table: Table) -> None:
    record = newest_record(table)
    content = record.read_bytes()
    record.write_bytes(content.replace(b'"version": 3', b'"version": 7'))
    fresh = table_at(table.place)
    assert (keys(fresh), fresh.fault) == ([1, 2, 3], "the record of commit 3 is torn or altered")
    add(fresh, 4)
    assert (record.read_bytes(), fresh.fault) == (content, None)


def test_f5_a_damaged_data_file_is_taken_out_by_repair(table: Table) -> None:
    data = min(folder(table).glob("*.parquet"))
    data.write_bytes(data.read_bytes()[:-1] + b"x")
    fresh = table_at(table.place)
    with pytest.raises(StoreError, match=f"{data}: data file is altered"):
        keys(fresh)
    done = fresh.repair()
    assert done.lost_since == datetime.min.replace(tzinfo=UTC)
    assert data.name in done.told[0]
    assert (len(keys(fresh)), fresh.verify()) == (2, [])
    add(fresh, 1, 2, 3)
    assert keys(fresh) == [1, 2, 3]


def test_f5_a_damaged_checkpoint_is_taken_out_by_repair(table: Table) -> None:
    table.checkpoint()
    add(table, 4)
    (path,) = (folder(table) / "_delta_log").glob("*.checkpoint.parquet")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    fresh = table_at(table.place)
    with pytest.raises(StoreError, match="checkpoint 3 is torn, altered or gone; run `nightcast maintain --repair`"):
        keys(fresh)
    assert fresh.exists
    assert fresh.repair().lost_since is None
    assert (keys(fresh), fresh.verify()) == ([1, 2, 3, 4], [])
    fresh.checkpoint()
    assert keys(table_at(table.place)) == [1, 2, 3, 4]


@pytest.mark.parametrize("how", ["emptied", "zeros", "another version"])
def test_f5_a_damaged_hint_is_noticed_or_harmless_and_repaired(table: Table, how: str) -> None:
    table.checkpoint()
    add(table, 4)
    hint = folder(table) / "_delta_log" / "_last_checkpoint"
    content = hint.read_bytes()
    hint.write_bytes(
        {"emptied": b"", "zeros": b"\0" * len(content), "another version": content.replace(b":3,", b":2,")}[how]
    )
    fresh = table_at(table.place)
    try:
        assert keys(fresh) == [1, 2, 3, 4]
    except StoreError as error:
        assert "\n" not in str(error)
    fresh.repair()
    assert (keys(table_at(table.place)), fresh.verify()) == ([1, 2, 3, 4], [])


def test_f5_of_300_flipped_bits_none_is_silent(tmp_path: Path) -> None:
    place = open_store(tmp_path)
    table = table_at(place / "table")
    versions: list[list[int]] = [[]]
    for key in range(6):
        add(table, key)
        versions.append(keys(table))
        if key == 2:
            table.checkpoint()
    raw, receipts = RawStore(place / "raw"), Receipts(place / "receipts")
    payloads = [Payload.of(f"wind {n}.csv", b"time,A\n2001-01-01,%d\n" % n, {"part": str(n)}) for n in range(4)]
    kept = [{"payload": one.digest, "at": f"2001-01-0{n + 1}T00:00:00+00:00"} for n, one in enumerate(payloads)]
    for payload, receipt in zip(payloads, kept, strict=True):
        raw.put(payload)
        receipts.write(payload.digest, receipt)
    kinds = {
        "data": "table/*.parquet",
        "log": "table/_delta_log/*.json",
        "checkpoint": "table/_delta_log/*.checkpoint.parquet",
        "hint": "table/_delta_log/_last_checkpoint",
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
        outcomes[kind, _what_is_read(table_at(place / "table"), raw, receipts, versions, payloads, kept)] += 1
        path.write_bytes(whole)
    silent = {key: count for key, count in outcomes.items() if key[1].startswith("silently")}
    assert not silent, (silent, outcomes)
    for kind in ("data", "payload", "receipt"):
        assert outcomes[kind, "refused"] > 30, outcomes
    assert outcomes["log", "older, told"] > 10, outcomes
    assert sum(outcomes.values()) == 300


def _what_is_read(
    table: Table,
    raw: RawStore,
    receipts: Receipts,
    versions: list[list[int]],
    payloads: list[Payload],
    kept: list[dict[str, str]],
) -> str:
    forget_checks()
    try:
        rows = table.read()
        read = sorted(rows["key"].to_pylist())
        fault = table.fault
        same = [raw.get(one.digest) for one in payloads] == payloads
        same &= sorted(receipts, key=lambda one: one["at"]) == kept
    except StoreError as error:
        assert "\n" not in str(error)
        return "refused"
    if not same or set(rows["who"].to_pylist()) - {"me"} or set(rows["month"].to_pylist()) - {"2001-01"}:
        return "silently altered"
    if read == versions[-1]:
        return "same" if fault is None else "same, told"
    if fault is None:
        return f"silently {read}"
    return "older, told" if read in versions else f"silently {read}, though told {fault}"
