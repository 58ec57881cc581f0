from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable

from pipeline.errors import StoreError
from pipeline.store.delta.table import Table
from pipeline.store.objects import open_store
from tests.tables import SCHEMA, append_each, folder, reopen, rows

NOW = datetime(2030, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(open_store(tmp_path / "table"), SCHEMA, "month")


def age(table: Table, by: timedelta) -> None:
    """Set the time of every file to that long before NOW."""
    then = (NOW - by).timestamp()
    for path in folder(table).rglob("*"):
        os.utime(path, (then, then))


def data(table: Table) -> set[str]:
    return {path.name for path in folder(table).glob("*.parquet")}


def append(table: Table, new: pa.Table) -> None:
    table.append(lambda _: new)


def test_compaction_merges_a_partition_into_one_sorted_file(table: Table) -> None:
    for key in (3, 1, 2):
        append(table, rows(key, key + 10))
    table.append(lambda _: rows(9, month="2001-02"))
    before = table.version
    assert table.compact(["key"]) == 2
    assert table.read()["key"].to_pylist() == [1, 2, 3, 11, 12, 13, 9]
    assert table.version == before + 1  # the other partition already has one file
    assert len(reopen(table).versions.newest().scan.files) == 2  # type: ignore[union-attr]
    assert table.compact(["key"]) == 0
    assert table.version == before + 1
    assert DeltaTable(table.uri).to_pyarrow_table()["key"].to_pylist().count(1) == 1


def test_compaction_of_a_table_without_partitions(tmp_path: Path) -> None:
    table = Table(open_store(tmp_path), pa.schema([("key", pa.int64())]))
    for key in (2, 1):
        append(table, pa.table({"key": [key]}))
    assert table.compact(["key"]) == 1
    assert table.read()["key"].to_pylist() == [1, 2]
    assert Table(open_store(tmp_path / "none"), SCHEMA).compact(["key"]) == 0


def test_compaction_keeps_rows_committed_meanwhile(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    append_each(table, 1, 2)
    calls: list[int] = []
    commit = table.versions.commit

    def overtaken(*given: Any, **named: Any) -> bool:
        calls.append(1)
        if len(calls) == 1:
            reopen(table).append(lambda _: rows(3))
        return commit(*given, **named)

    monkeypatch.setattr(table.versions, "commit", overtaken)
    assert table.compact(["key"]) == 2
    assert len(calls) == 2
    assert table.read()["key"].to_pylist() == [1, 2, 3]


def test_compaction_keeps_columns_that_are_not_in_the_schema(table: Table) -> None:
    wider = Table(table.store, SCHEMA.append(pa.field("speed", pa.float64())), "month")
    wider.append(lambda _: rows(2).append_column("speed", pa.array([2.5])))
    table.append(lambda _: rows(1))
    assert table.compact(["key"]) == 1
    assert wider.read()["speed"].to_pylist() == [None, 2.5]


def test_vacuum_deletes_files_of_old_versions(table: Table) -> None:
    append_each(table, 1, 2)
    table.compact(["key"])
    old = data(table)
    age(table, 2 * WEEK)
    current = {file.name for file in table.versions.newest().scan.files}  # type: ignore[union-attr]
    deleted = table.vacuum(older_than=WEEK, now=NOW)
    assert set(deleted) == old - current and len(deleted) == 2
    assert data(table) == current
    assert reopen(table).read()["key"].to_pylist() == [1, 2]
    assert table.vacuum(older_than=WEEK, now=NOW) == []


def test_vacuum_keeps_the_versions_that_models_were_trained_on(table: Table) -> None:
    append_each(table, 1, 2, 3)
    trained_on = table.version - 1
    table.compact(["key"])
    age(table, 2 * WEEK)
    assert len(table.vacuum(keep_versions=[trained_on], older_than=WEEK, now=NOW)) == 1
    seen = table.versions.at(trained_on).scan.read(None, ["key"], SCHEMA)
    assert sorted(seen["key"].to_pylist()) == [1, 2]


def test_vacuum_keeps_young_files(table: Table) -> None:
    append_each(table, 1, 2)
    (folder(table) / "ab.parquet").write_bytes(b"of a writer that has not committed yet")
    age(table, 2 * WEEK)
    table.compact(["key"])  # readers may still use the version before
    for path in folder(table).glob("_delta_log/*3.json"):
        os.utime(path, (NOW.timestamp(), NOW.timestamp()))
    os.utime(folder(table) / "ab.parquet", (NOW.timestamp(), NOW.timestamp()))
    assert table.vacuum(older_than=WEEK, now=NOW) == []
    age(table, 2 * WEEK)
    assert len(table.vacuum(older_than=WEEK, now=NOW)) == 3


def test_vacuum_deletes_files_of_killed_writers(table: Table) -> None:
    table.append(lambda _: rows(1))
    left = [
        ".x.tmp123",
        "_delta_log/.0.json.abc",
        "_delta_log/_commit_1.json.tmp",
        "_delta_log/1.json#1",
        "_manifest/commits/.0.json.abc",
        "a.parquet",
    ]
    for name in left:
        (folder(table) / name).write_bytes(b"half")
    (folder(table) / "README.txt").write_bytes(b"of somebody else")
    age(table, 2 * WEEK)
    assert sorted(table.vacuum(older_than=WEEK, now=NOW)) == sorted(left)
    assert (folder(table) / "README.txt").is_file()
    assert (table.fault, table.verify()) == (None, [])


def test_vacuum_logs_versions_that_do_not_exist(table: Table, caplog: pytest.LogCaptureFixture) -> None:
    # A model may have been trained on a table that was created anew since.
    table.append(lambda _: rows(1))
    assert table.vacuum(keep_versions=[77, 1], older_than=WEEK, now=NOW) == []
    (record,) = caplog.records
    assert (
        record.getMessage() == f"{table.uri}: cannot keep version 77, the newest is 1; the table was created anew since"
    )
    assert Table(open_store(folder(table) / "none"), SCHEMA).vacuum(older_than=WEEK, now=NOW) == []


def test_a_checkpoint_shortens_the_log_and_loses_nothing(table: Table) -> None:
    table.create({"since": "1978"})
    append_each(table, *range(4))
    table.checkpoint()
    table.checkpoint()  # there already is one
    fresh = reopen(table)
    assert sorted(fresh.read()["key"].to_pylist()) == [0, 1, 2, 3]
    assert fresh.read(pc.field("key") == 2).num_rows == 1
    assert fresh.versions.state().digests == {}  # only the checkpoint is read
    table.append(lambda _: rows(4))
    assert list(fresh.versions.state().digests) == [5]
    assert fresh.property("since") == "1978"
    assert (fresh.fault, fresh.verify()) == (None, [])


def test_vacuum_deletes_the_log_before_the_last_checkpoint_but_one(table: Table) -> None:
    for round_ in range(3):
        append_each(table, *range(10 * round_, 10 * round_ + 3))
        table.checkpoint()  # at 3, 6 and 9
    age(table, 2 * WEEK)
    deleted = table.vacuum(older_than=WEEK, now=NOW)
    logs = [f"_delta_log/{n:020}.{end}" for n in range(6) for end in _ends(n)]
    records = [f"_manifest/commits/{n:020}.json" for n in range(6)]
    assert sorted(deleted) == sorted([*logs, *records, f"_manifest/checkpoints/{3:020}.json"])
    fresh = reopen(table)
    assert fresh.read().num_rows == 9
    assert (fresh.fault, fresh.verify()) == (None, [])
    assert fresh.versions.at(7).scan.read(None, ["key"], SCHEMA).num_rows == 7
    with pytest.raises(StoreError, match="cannot open version 2"):
        table.vacuum(keep_versions=[2], older_than=WEEK, now=NOW)
    table.append(lambda _: rows(99))
    assert fresh.read().num_rows == 10


def _ends(version: int) -> list[str]:
    return ["checkpoint.parquet", "json"] if version == 3 else ["json"]


def test_vacuum_keeps_the_log_of_a_kept_version(table: Table) -> None:
    for round_ in range(3):
        append_each(table, *range(10 * round_, 10 * round_ + 3))
        table.checkpoint()
    age(table, 2 * WEEK)
    assert table.vacuum(keep_versions=[4], older_than=WEEK, now=NOW) == []
    assert reopen(table).versions.at(4).scan.read(None, ["key"], SCHEMA).num_rows == 4


def test_a_checkpoint_does_not_delete_old_commits(table: Table) -> None:
    # delta-rs deletes them after 30 days by default.
    append_each(table, *range(3))
    for path in folder(table).glob("_delta_log/*"):
        os.utime(path, (0, 0))
    table.checkpoint()
    assert len(list(folder(table).glob("_delta_log/*.json"))) == 4


def test_an_unrecorded_checkpoint_is_reported_and_replaced(table: Table) -> None:
    # Its writer was killed between the checkpoint and its record.
    append_each(table, *range(2))
    DeltaTable(table.uri).create_checkpoint()
    fault = table.fault
    assert fault == "checkpoint 2 has no record"
    assert table.read().num_rows == 2
    table.checkpoint()
    assert (table.fault, table.verify(), reopen(table).read().num_rows) == (None, [], 2)


@pytest.mark.parametrize("part", ["*.parquet", "_delta_log/*1.json", "_manifest/commits/*1.json"])
def test_verify_names_the_damaged_file(table: Table, part: str) -> None:
    append_each(table, *range(3))
    assert table.verify() == []
    path = min(folder(table).glob(part))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert len(table.verify()) == 1
    assert path.name in table.verify()[0] or "commit 1" in table.verify()[0]


def test_verifying_a_missing_table_finds_nothing() -> None:
    assert Table(open_store("/nowhere/at/all"), SCHEMA).verify() == []


@pytest.mark.parametrize("checkpoint", [False, True])
def test_an_open_table_is_updated_without_opening_it_again(
    table: Table, monkeypatch: pytest.MonkeyPatch, checkpoint: bool
) -> None:
    append_each(table, *range(3))
    if checkpoint:
        table.checkpoint()
    assert table.read().num_rows == 3
    opened: list[int] = []
    open_at = table.versions.open_at

    def noted(version: int) -> DeltaTable:
        opened.append(version)
        return open_at(version)

    monkeypatch.setattr(table.versions, "open_at", noted)
    assert table.read().num_rows == 3
    reopen(table).append(lambda _: rows(9))
    assert table.read().num_rows == 4
    assert opened == []


def test_a_recreated_table_is_not_mistaken_for_the_old_one(table: Table) -> None:
    append_each(table, *range(3))
    assert table.read().num_rows == 3
    shutil.rmtree(folder(table))
    for key in range(3):
        append_each(reopen(table), key + 10)
    assert sorted(table.read()["key"].to_pylist()) == [10, 11, 12]
