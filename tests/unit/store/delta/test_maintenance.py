from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable

from pipeline.errors import StoreError
from pipeline.store.delta import maintenance
from pipeline.store.delta.table import Table
from pipeline.store.objects import LocalStore, open_store

SCHEMA = pa.schema([("key", pa.int64()), ("who", pa.string()), ("month", pa.string())])
NOW = datetime(2030, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)


def rows(*keys: int, month: str = "2001-01") -> pa.Table:
    return pa.table({"key": list(keys), "who": ["me"] * len(keys), "month": [month] * len(keys)}, schema=SCHEMA)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(open_store(tmp_path / "table"), SCHEMA, "month")


def folder(table: Table) -> Path:
    assert isinstance(table.place, LocalStore)
    return table.place.path


def again(table: Table) -> Table:
    return Table(table.place, SCHEMA, "month")


def age(table: Table, by: timedelta) -> None:
    """Let every file be that much older than NOW."""
    then = (NOW - by).timestamp()
    for path in folder(table).rglob("*"):
        os.utime(path, (then, then))


def data(table: Table) -> set[str]:
    return {path.name for path in folder(table).glob("*.parquet")}


def test_compaction_makes_one_sorted_file_of_a_partition(table: Table) -> None:
    for key in (3, 1, 2):
        table.append(lambda _, key=key: rows(key, key + 10))
    table.append(lambda _: rows(9, month="2001-02"))
    before = table.version
    assert table.compact(["key"]) == 2
    assert table.read()["key"].to_pylist() == [1, 2, 3, 11, 12, 13, 9]
    assert table.version == before + 1  # the other partition has one file and stays
    assert len(again(table).versions.newest().scan.files) == 2  # type: ignore[union-attr]
    assert table.compact(["key"]) == 0
    assert table.version == before + 1
    assert DeltaTable(table.uri).to_pyarrow_table()["key"].to_pylist().count(1) == 1


def test_compaction_of_a_table_without_partitions(tmp_path: Path) -> None:
    table = Table(open_store(tmp_path), pa.schema([("key", pa.int64())]))
    for key in (2, 1):
        table.append(lambda _, key=key: pa.table({"key": [key]}))
    assert table.compact(["key"]) == 1
    assert table.read()["key"].to_pylist() == [1, 2]
    assert Table(open_store(tmp_path / "none"), SCHEMA).compact(["key"]) == 0


def test_compaction_does_not_lose_what_comes_in_between(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    # F3
    for key in (1, 2):
        table.append(lambda _, key=key: rows(key))
    commit, calls = table.versions.commit, []

    def overtaken(*given: object, **named: object) -> bool:
        calls.append(1)
        if len(calls) == 1:
            again(table).append(lambda _: rows(3))
        return commit(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(table.versions, "commit", overtaken)
    assert table.compact(["key"]) == 2
    assert len(calls) == 2
    assert table.read()["key"].to_pylist() == [1, 2, 3]


def test_compaction_keeps_columns_that_this_product_does_not_know(table: Table) -> None:
    wider = Table(table.place, SCHEMA.append(pa.field("speed", pa.float64())), "month")
    wider.append(lambda _: rows(2).append_column("speed", pa.array([2.5])))
    table.append(lambda _: rows(1))
    assert table.compact(["key"]) == 1
    assert wider.read()["speed"].to_pylist() == [None, 2.5]


def test_vacuum_deletes_what_only_old_versions_name(table: Table) -> None:
    for key in (1, 2):
        table.append(lambda _, key=key: rows(key))
    table.compact(["key"])
    old = data(table)
    age(table, 2 * WEEK)
    kept = {file.name for file in table.versions.newest().scan.files}  # type: ignore[union-attr]
    gone = table.vacuum(older_than=WEEK, now=NOW)
    assert set(gone) == old - kept and len(gone) == 2
    assert data(table) == kept
    assert again(table).read()["key"].to_pylist() == [1, 2]
    assert table.vacuum(older_than=WEEK, now=NOW) == []


def test_vacuum_keeps_the_versions_that_models_were_trained_on(table: Table) -> None:
    for key in (1, 2, 3):
        table.append(lambda _, key=key: rows(key))
    trained_on = table.version - 1
    table.compact(["key"])
    age(table, 2 * WEEK)
    assert len(table.vacuum(keep_versions=[trained_on], older_than=WEEK, now=NOW)) == 1
    seen = table.versions.at(trained_on).scan.read(None, ["key"], SCHEMA)
    assert sorted(seen["key"].to_pylist()) == [1, 2]


def test_vacuum_keeps_what_is_young(table: Table) -> None:
    for key in (1, 2):
        table.append(lambda _, key=key: rows(key))
    (folder(table) / "ab.parquet").write_bytes(b"of a writer that has not committed yet")
    age(table, 2 * WEEK)
    table.compact(["key"])  # a reader may still stand at the version before
    for path in folder(table).glob("_delta_log/*3.json"):
        os.utime(path, (NOW.timestamp(), NOW.timestamp()))
    os.utime(folder(table) / "ab.parquet", (NOW.timestamp(), NOW.timestamp()))
    assert table.vacuum(older_than=WEEK, now=NOW) == []
    age(table, 2 * WEEK)
    assert len(table.vacuum(older_than=WEEK, now=NOW)) == 3


def test_vacuum_deletes_what_killed_writers_left(table: Table) -> None:
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


def test_vacuum_tells_of_versions_that_the_table_never_had(table: Table, caplog: pytest.LogCaptureFixture) -> None:
    # A model may have been trained on a table that was since made anew.
    table.append(lambda _: rows(1))
    assert table.vacuum(keep_versions=[77, 1], older_than=WEEK, now=NOW) == []
    (record,) = caplog.records
    assert record.getMessage() == f"{table.uri}: cannot keep version 77, the newest is 1; the table was made anew since"
    assert Table(open_store(folder(table) / "none"), SCHEMA).vacuum(older_than=WEEK, now=NOW) == []


def test_a_checkpoint_shortens_the_log_and_loses_nothing(table: Table) -> None:
    table.create({"since": "1978"})
    for key in range(4):
        table.append(lambda _, key=key: rows(key))
    table.checkpoint()
    table.checkpoint()  # there is one
    fresh = again(table)
    assert sorted(fresh.read()["key"].to_pylist()) == [0, 1, 2, 3]
    assert fresh.read(pc.field("key") == 2).num_rows == 1
    assert fresh.versions.state().digests == {}  # nothing to look at but the checkpoint
    table.append(lambda _: rows(4))
    assert list(fresh.versions.state().digests) == [5]
    assert fresh.property("since") == "1978"
    assert (fresh.fault, fresh.verify()) == (None, [])


def test_the_log_before_the_last_checkpoint_but_one_goes(table: Table) -> None:
    for round_ in range(3):
        for key in range(3):
            table.append(lambda _, key=key, round_=round_: rows(10 * round_ + key))
        table.checkpoint()  # at 3, 6 and 9
    age(table, 2 * WEEK)
    gone = table.vacuum(older_than=WEEK, now=NOW)
    logs = [f"_delta_log/{n:020}.{end}" for n in range(6) for end in _ends(n)]
    records = [f"_manifest/commits/{n:020}.json" for n in range(6)]
    assert sorted(gone) == sorted([*logs, *records, f"_manifest/checkpoints/{3:020}.json"])
    fresh = again(table)
    assert fresh.read().num_rows == 9
    assert (fresh.fault, fresh.verify()) == (None, [])
    assert fresh.versions.at(7).scan.read(None, ["key"], SCHEMA).num_rows == 7
    with pytest.raises(StoreError, match="cannot open version 2"):
        table.vacuum(keep_versions=[2], older_than=WEEK, now=NOW)
    table.append(lambda _: rows(99))
    assert fresh.read().num_rows == 10


def _ends(version: int) -> list[str]:
    return ["checkpoint.parquet", "json"] if version == 3 else ["json"]


def test_a_kept_version_keeps_its_log(table: Table) -> None:
    for round_ in range(3):
        for key in range(3):
            table.append(lambda _, key=key, round_=round_: rows(10 * round_ + key))
        table.checkpoint()
    age(table, 2 * WEEK)
    assert table.vacuum(keep_versions=[4], older_than=WEEK, now=NOW) == []
    assert again(table).versions.at(4).scan.read(None, ["key"], SCHEMA).num_rows == 4


def test_an_old_commit_is_not_deleted_by_a_checkpoint(table: Table) -> None:
    # delta-rs would clean up after 30 days on its own.
    for key in range(3):
        table.append(lambda _, key=key: rows(key))
    for path in folder(table).glob("_delta_log/*"):
        os.utime(path, (0, 0))
    table.checkpoint()
    assert len(list(folder(table).glob("_delta_log/*.json"))) == 4


def test_a_checkpoint_that_was_not_recorded_is_told_and_written_anew(table: Table) -> None:
    # F1: killed between the checkpoint and its record
    for key in range(2):
        table.append(lambda _, key=key: rows(key))
    DeltaTable(table.uri).create_checkpoint()
    assert table.fault == "checkpoint 2 has no record"
    assert table.read().num_rows == 2
    table.checkpoint()
    assert (table.fault, table.verify(), again(table).read().num_rows) == (None, [], 2)


@pytest.mark.parametrize("part", ["*.parquet", "_delta_log/*1.json", "_manifest/commits/*1.json"])
def test_verify_names_what_is_damaged(table: Table, part: str) -> None:
    # F5
    for key in range(3):
        table.append(lambda _, key=key: rows(key))
    assert table.verify() == []
    path = min(folder(table).glob(part))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert len(table.verify()) == 1
    assert path.name in table.verify()[0] or "commit 1" in table.verify()[0]


def test_verify_of_no_table() -> None:
    assert Table(open_store("/nowhere/at/all"), SCHEMA).verify() == []


@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_table_that_did_not_change_is_not_opened_again(
    table: Table, monkeypatch: pytest.MonkeyPatch, checkpoint: bool
) -> None:
    for key in range(3):
        table.append(lambda _, key=key: rows(key))
    if checkpoint:
        table.checkpoint()
    assert table.read().num_rows == 3
    opened: list[int] = []
    open_at = table.versions.open_at
    monkeypatch.setattr(table.versions, "open_at", lambda version: (opened.append(version), open_at(version))[1])
    assert table.read().num_rows == 3
    again(table).append(lambda _: rows(9))
    assert table.read().num_rows == 4
    assert opened == []


def test_a_table_that_was_made_anew_is_not_taken_for_the_old_one(table: Table) -> None:
    for key in range(3):
        table.append(lambda _, key=key: rows(key))
    assert table.read().num_rows == 3
    shutil.rmtree(folder(table))
    for key in range(3):
        again(table).append(lambda _, key=key: rows(key + 10))
    assert sorted(table.read()["key"].to_pylist()) == [10, 11, 12]


def lose(table: Table, *versions: int) -> None:
    """Let nothing be left of some commits but torn files."""
    for version in versions:
        for folder_ in ("_delta_log", "_manifest/commits"):
            (folder(table) / folder_ / f"{version:020}.json").write_bytes(b"torn")


def test_a_repair_never_gives_the_number_of_a_lost_version_to_other_data(table: Table) -> None:
    for key in (1, 2, 3, 4):
        table.append(lambda _, key=key: rows(key))
    lose(table, 3, 4)
    fresh = again(table)
    assert "commits 3 to 4 are lost" in fresh.repair().told[0]
    assert (fresh.version, fresh.read()["key"].to_pylist(), fresh.verify()) == (4, [1, 2], [])
    fresh.append(lambda _: rows(5))
    assert fresh.version == 5
    assert sorted(again(table).read()["key"].to_pylist()) == [1, 2, 5]
    fresh.checkpoint()
    assert (again(table).fault, again(table).repair().told) == (None, ())
    assert again(table).version == 5


def test_a_repair_that_was_killed_before_it_used_up_the_numbers_is_gone_on_with(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    # F1
    for key in (1, 2, 3):
        table.append(lambda _, key=key: rows(key))
    lose(table, 3)

    class KilledError(Exception):
        pass

    def kill(*_: object) -> None:
        raise KilledError

    fresh = again(table)
    monkeypatch.setattr("pipeline.store.delta.maintenance._pass_over", kill)
    with pytest.raises(KilledError):
        fresh.repair()
    monkeypatch.undo()
    assert again(table).version == 2
    assert again(table).repair().lost_since is None
    assert again(table).version == 3


@pytest.mark.parametrize("what", ["commit", "data"])
def test_it_is_told_that_rows_go_before_they_do(table: Table, what: str) -> None:
    for key in (1, 2, 3):
        table.append(lambda _, key=key: rows(key))
    if what == "commit":
        lose(table, 3)
    else:
        min(folder(table).glob("*.parquet")).write_bytes(b"torn")
    seen: list[dict[str, bytes]] = []

    def losing() -> None:
        seen.append({path.name: path.read_bytes() for path in folder(table).glob("_delta_log/*")})

    before = {path.name: path.read_bytes() for path in folder(table).glob("_delta_log/*")}
    assert maintenance.repair(again(table).versions, losing).lost_since is not None
    assert seen == [before]
    assert maintenance.repair(again(table).versions, losing) == (None, ())
    assert len(seen) == 1
