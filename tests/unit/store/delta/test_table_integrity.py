"""Durability of writes, damage of data files, and tables and commits of other programs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable, write_deltalake

from pipeline.errors import StoreError
from pipeline.store.delta.table import Table
from pipeline.store.objects import LocalStore, open_store
from tests.tables import SCHEMA, folder, keys, newest_log, process, reopen, rows

READ = """
import sys, pyarrow as pa
from concurrent.futures import ThreadPoolExecutor
from pipeline.store.objects import open_store
from pipeline.store.delta.table import Table
schema = pa.schema([("key", pa.int64()), ("who", pa.string()), ("month", pa.string())])
table = Table(open_store(sys.argv[1]), schema, "month")
with ThreadPoolExecutor(2) as pool:
    print(sum(rows.num_rows for rows in pool.map(lambda _: table.read(), range(4))))
"""


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(open_store(tmp_path / "deep" / "table"), SCHEMA, "month")


def append(table: Table, new: pa.Table) -> None:
    table.append(lambda _: new)


def a_data_file(table: Table) -> Path:
    return next(folder(table).glob("*.parquet"))


def test_data_log_and_record_are_flushed_before_append_returns(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    table.append(lambda _: rows(0))
    flushed: list[str] = []
    sync, write = os.fsync, DeltaTable.create_write_transaction

    def synced(handle: int) -> None:
        flushed.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        sync(handle)

    def committed(*given: Any, **named: Any) -> None:
        write(*given, **named)
        flushed.append("commit")

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(DeltaTable, "create_write_transaction", committed)
    before = set(folder(table).glob("*.parquet"))
    table.append(lambda _: rows(1))
    (data,) = set(folder(table).glob("*.parquet")) - before
    log = newest_log(table)
    commit = flushed.index("commit")
    assert {str(data), str(folder(table))} <= set(flushed[:commit])
    assert {str(log), str(log.parent), str(folder(table) / "_manifest" / "commits")} <= set(flushed[commit:])


def test_delta_rs_reads_the_table(table: Table) -> None:
    table.append(lambda _: rows(1, 2))
    table.replace_partition("2001-02", rows(3, month="2001-02"))
    table.compact(["key"])
    assert sorted(DeltaTable(table.uri).to_pyarrow_table()["key"].to_pylist()) == [1, 2, 3]
    assert DeltaTable(table.uri).count() == 3


def test_a_table_written_by_delta_rs_can_be_read_and_appended_to(tmp_path: Path) -> None:
    # Without a manifest or digests in file names, and with timestamp statistics truncated to milliseconds.
    time = pa.timestamp("us", tz="UTC")
    schema = pa.schema([("at", time), ("month", pa.string())])
    given = pa.table({"at": pa.array([1_000_999], time), "month": ["1970-01"]}, schema=schema)
    write_deltalake(str(tmp_path), given, partition_by=["month"])
    table = Table(open_store(tmp_path), schema, "month")
    assert table.fault is None
    assert table.read(pc.field("at") > pa.scalar(1_000_500, time)).num_rows == 1
    table.append(lambda _: given)
    assert table.read().num_rows == 2
    assert (table.fault, table.verify()) == (None, [])


@pytest.mark.parametrize("listing", ["_manifest/checkpoints", "_manifest/commits", "_delta_log"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_concurrent_commit_is_not_mistaken_for_a_fault(
    table: Table, monkeypatch: pytest.MonkeyPatch, listing: str, when: str
) -> None:
    table.append(lambda _: rows(1))
    came: list[int] = []
    list_files = LocalStore.list_files

    def overtaken(store: LocalStore, folder: str = "", **named: Any) -> Any:
        first = not came and folder == listing
        if first:
            came.append(1)
        if first and when == "before":
            reopen(table).append(lambda _: rows(2))
        found = list_files(store, folder, **named)
        if first and when == "after":
            reopen(table).append(lambda _: rows(2))
        return found

    monkeypatch.setattr(LocalStore, "list_files", overtaken)
    assert reopen(table).fault is None
    came.clear()
    reopen(table).append(lambda existing: rows(3))
    assert (keys(table), table.fault) == ([1, 2, 2, 3], None)


def test_a_commit_of_another_program_is_reported_and_not_built_on(table: Table) -> None:
    table.append(lambda _: rows(1))
    write_deltalake(table.uri, rows(2), mode="append")
    assert keys(table) == [1]
    assert table.fault == "commit 2 was written by another program; version 1 is served"
    with pytest.raises(StoreError, match=r"written by another program.*nightcast maintain --repair"):
        table.append(lambda _: rows(3))


Damage = Callable[[Path], object]
DAMAGES: dict[str, Damage] = {
    "emptied": lambda file: file.write_bytes(b""),
    "torn": lambda file: file.write_bytes(file.read_bytes()[:-100]),
    "lengthened": lambda file: file.write_bytes(file.read_bytes() + b"xx"),
    "deleted": lambda file: file.unlink(),
    "another": lambda file: file.write_bytes(file.with_name("other.parquet").read_bytes()),
}


def assert_refused(table: Table) -> None:
    with pytest.raises(StoreError, match=str(folder(table))):
        reopen(table).read()
    with pytest.raises(StoreError, match=str(folder(table))):
        reopen(table).append(lambda _: rows(99))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_data_file_is_noticed(table: Table, damage: str) -> None:
    table.append(lambda _: rows(1))
    assert keys(table) == [1]
    data = a_data_file(table)
    table.replace_partition("2001-02", rows(2, month="2001-02"))
    (other,) = set(folder(table).glob("*.parquet")) - {data}
    shutil.copy(other, data.with_name("other.parquet"))
    DAMAGES[damage](data)
    assert_refused(table)


@pytest.mark.parametrize("whole", [True, False])
def test_data_without_a_log_is_not_an_empty_table(table: Table, whole: bool) -> None:
    table.append(lambda _: rows(1))
    shutil.rmtree(folder(table) / "_manifest")
    if whole:
        shutil.rmtree(folder(table) / "_delta_log")
    else:
        for log in (folder(table) / "_delta_log").iterdir():
            log.unlink()
    assert_refused(table)


def test_a_process_that_read_in_threads_exits_cleanly(table: Table) -> None:
    # The Python file system of deltalake sometimes aborts the interpreter at exit.
    for n in range(4):
        append(table, rows(n, month=f"2001-0{n + 1}"))
    for reader in [process(READ, str(folder(table))) for _ in range(5)]:
        output, error = reader.communicate(timeout=120)
        assert (reader.returncode, output.strip(), error) == (0, "16", "")
