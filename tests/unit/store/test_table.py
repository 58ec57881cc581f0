from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake.exceptions import CommitFailedError, DeltaError

from pipeline.errors import StoreError
from pipeline.store import table as table_module
from pipeline.store.table import Table

SCHEMA = pa.schema([("key", pa.int64()), ("who", pa.string()), ("month", pa.string())])
ROOT = Path(__file__).resolve().parents[3]

# Adds each of 12 keys unless it is there, as a user of `append` does; all processes want the same keys.
ADD_KEYS = """
import sys, pyarrow as pa
from pathlib import Path
from pipeline.store.table import Table
schema = pa.schema([("key", pa.int64()), ("who", pa.string()), ("month", pa.string())])
table = Table(Path(sys.argv[1]), schema, "month")
mine = []
for key in range(12):
    def choose(present):
        row = {"key": key, "who": sys.argv[2], "month": "2001-01"}
        return pa.Table.from_pylist([] if key in present["key"].to_pylist() else [row], schema=schema)
    mine += table.append(choose)["key"].to_pylist()
print(*mine)
"""
READ = """
import sys, pyarrow as pa
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from pipeline.store.table import Table
schema = pa.schema([("key", pa.int64()), ("who", pa.string()), ("month", pa.string())])
table = Table(Path(sys.argv[1]), schema, "month")
with ThreadPoolExecutor(2) as pool:
    print(sum(rows.num_rows for rows in pool.map(lambda _: table.read(), range(4))))
"""


def rows(*keys: int, who: str = "me", month: str = "2001-01") -> pa.Table:
    return pa.table({"key": list(keys), "who": [who] * len(keys), "month": [month] * len(keys)}, schema=SCHEMA)


def keys(table: Table, where: pc.Expression | None = None) -> list[int]:
    return sorted(table.read(where)["key"].to_pylist())


def newest_log(table: Table) -> Path:
    return max((table.path / "_delta_log").glob("*.json"))


def a_data_file(table: Table) -> Path:
    return next(iter(table.path.rglob("*.parquet")))


def process(script: str, *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path / "deep" / "table", SCHEMA, "month")


def test_a_table_that_was_never_written_is_empty(table: Table) -> None:
    assert not table.exists
    assert table.version == -1
    assert table.property("since") is None
    assert table.read() == SCHEMA.empty_table()
    assert table.read(columns=["key"]).schema.names == ["key"]
    assert not table.path.exists()


def test_what_is_appended_is_read_back_in_the_schema(table: Table) -> None:
    given = rows(3, 1).append_column("more", pa.array([0, 0])).select(["more", "month", "who", "key"])
    assert table.append(lambda _: given).num_rows == 2
    table.append(lambda _: rows(2, month="2001-02"))
    assert table.exists
    assert table.read().schema == SCHEMA
    assert keys(table) == [1, 2, 3]
    assert keys(table, pc.field("month") == "2001-02") == [2]
    assert keys(table, pc.field("key") > 1) == [2, 3]
    assert table.read(columns=["who"]).schema.names == ["who"]


def test_a_partition_name_that_paths_do_not_like_is_kept(table: Table) -> None:
    hostile = "../a b%2F=\u202e'\""
    table.append(lambda _: rows(1, month=hostile))
    assert table.read()["month"].to_pylist() == [hostile]


def test_no_rows_are_no_commit(table: Table) -> None:
    table.append(lambda _: rows(1))
    before = table.version
    assert table.append(lambda _: rows()).num_rows == 0
    assert table.version == before


def test_choose_sees_the_rows_that_satisfy_where(table: Table) -> None:
    table.append(lambda _: rows(1, 2))
    table.append(lambda _: rows(3, month="2001-02"))
    seen: list[int] = []

    def choose(present: pa.Table) -> pa.Table:
        seen.extend(present["key"].to_pylist())
        return rows(4)

    table.append(choose, where=pc.field("month") == "2001-01")
    assert sorted(seen) == [1, 2]


def test_properties_are_those_of_the_first_creator(table: Table) -> None:
    table.create({"since": "1978", "other": "x"})
    table.create({"since": "2001"})
    assert (table.property("since"), table.property("other")) == ("1978", "x")
    table.append(lambda _: rows(1))
    assert table.property("since") == "1978"
    assert table.property("none") is None
    assert Table(table.path, SCHEMA, "month").property("since") == "1978"


@pytest.mark.parametrize("asked", [1, 2])
def test_of_two_that_create_at_once_one_wins(table: Table, monkeypatch: pytest.MonkeyPatch, asked: int) -> None:
    exists, create = Table.exists.fget, table_module.DeltaTable.create  # type: ignore[attr-defined]

    def other() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Table, "exists", property(exists))
            patch.setattr(table_module.DeltaTable, "create", create)
            Table(table.path, SCHEMA, "month").create({"since": "1978"})

    def not_yet(_: Table) -> bool:
        if asked == 1:
            other()  # right after this process has looked
        return False

    def refused(*_: object, **__: object) -> None:
        other()  # right before its commit
        raise CommitFailedError("version 0 exists")

    monkeypatch.setattr(Table, "exists", property(not_yet))
    if asked == 2:
        monkeypatch.setattr(table_module.DeltaTable, "create", refused)
    table.create({"since": "2001"})
    monkeypatch.undo()
    assert table.property("since") == "1978"


def test_an_append_that_another_overtook_is_computed_anew(table: Table) -> None:
    # F3, in a fixed order
    table.append(lambda _: rows(1))
    calls: list[list[int]] = []

    def choose(present: pa.Table) -> pa.Table:
        calls.append(sorted(present["key"].to_pylist()))
        if len(calls) == 1:
            Table(table.path, SCHEMA, "month").append(lambda _: rows(2, who="other"))
        return rows() if 2 in present["key"].to_pylist() else rows(2)

    assert table.append(choose).num_rows == 0
    assert calls == [[1], [1, 2]]
    assert table.read(pc.field("key") == 2)["who"].to_pylist() == ["other"]


def test_even_a_row_of_another_partition_overtakes(table: Table) -> None:
    table.append(lambda _: rows(1))
    calls = 0

    def choose(present: pa.Table) -> pa.Table:
        nonlocal calls
        calls += 1
        if calls == 1:
            Table(table.path, SCHEMA, "month").append(lambda _: rows(9, month="2099-01"))
        return rows(2)

    table.append(choose, where=pc.field("month") == "2001-01")
    assert (calls, keys(table)) == (2, [1, 2, 9])


def test_four_processes_leave_each_key_once(table: Table) -> None:
    # F3
    writers = [process(ADD_KEYS, str(table.path), f"writer {n}") for n in range(4)]
    outputs = [writer.communicate(timeout=120) for writer in writers]
    assert [(writer.returncode, error) for writer, (_, error) in zip(writers, outputs, strict=True)] == [(0, "")] * 4
    assert keys(table) == list(range(12))
    # What each was told it added is what stands under its name.
    for n, (told, _) in enumerate(outputs):
        assert keys(table, pc.field("who") == f"writer {n}") == sorted(map(int, told.split()))


def test_an_append_that_is_overtaken_for_ever_gives_up(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    table.append(lambda _: rows(1))
    waits: list[float] = []

    def overtaken(*_: object, **__: object) -> None:
        raise CommitFailedError("another version")

    monkeypatch.setattr(table_module, "write_deltalake", overtaken)
    monkeypatch.setattr(table_module.time, "sleep", waits.append)
    with pytest.raises(StoreError, match="40 commits in a row met another writer; run fewer jobs at once"):
        table.append(lambda _: rows(2))
    assert len(waits) == table_module.ATTEMPTS
    assert min(waits) >= 0 and max(waits) <= 0.02 * table_module.ATTEMPTS


@pytest.mark.parametrize("fault", [DeltaError("broken"), OSError(28, "No space left on device")])
def test_a_failed_write_changes_nothing(table: Table, monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    # F6
    table.append(lambda _: rows(1))

    def fails(*_: object, **__: object) -> None:
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(table_module, "write_deltalake", fails)
        with pytest.raises(StoreError, match="cannot append"):
            table.append(lambda _: rows(2))
        with pytest.raises(StoreError, match="cannot replace 2001-01"):
            table.replace_partition("2001-01", rows(2))
    assert keys(table) == [1]


def test_a_fault_of_choose_is_not_swallowed(table: Table) -> None:
    def choose(present: pa.Table) -> pa.Table:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        table.append(choose)
    assert keys(table) == []


def test_a_partition_is_replaced_and_the_others_stay(table: Table) -> None:
    table.replace_partition("2001-01", rows(1, 2))
    table.replace_partition("2001-02", rows(3, month="2001-02"))
    table.replace_partition("2001-01", rows(7))
    assert keys(table) == [3, 7]
    table.replace_partition("2001-01", rows(7))  # twice is once
    assert keys(table) == [3, 7]


def test_a_row_of_another_partition_cannot_be_slipped_in(table: Table) -> None:
    table.replace_partition("2001-01", rows(1))
    with pytest.raises(StoreError, match="cannot replace 2001-01"):
        table.replace_partition("2001-01", rows(2, month="2001-02"))
    assert keys(table) == [1]


def test_data_and_log_are_flushed_before_append_returns(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    # F4
    flushed: set[str] = set()
    sync = os.fsync

    def synced(descriptor: int) -> None:
        flushed.add(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        sync(descriptor)

    monkeypatch.setattr(table_module.os, "fsync", synced)
    table.append(lambda _: rows(1))
    data = a_data_file(table)
    wanted = {newest_log(table), newest_log(table).parent, data, data.parent, table.path, table.path.parent}
    assert {str(path) for path in wanted} <= flushed


Damage = Callable[[Path], object]
COMMITS: dict[str, Damage] = {
    "emptied": lambda log: log.write_bytes(b""),
    "zeros": lambda log: log.write_bytes(b"\0" * log.stat().st_size),
    "torn in a line": lambda log: log.write_bytes(log.read_bytes()[:-20]),
    "torn in the middle": lambda log: log.write_bytes(log.read_bytes()[: log.stat().st_size // 2]),
}
FILES: dict[str, Damage] = {
    "emptied": lambda file: file.write_bytes(b""),
    "torn": lambda file: file.write_bytes(file.read_bytes()[:-100]),
    "lengthened": lambda file: file.write_bytes(file.read_bytes() + b"xx"),
    "gone": lambda file: file.unlink(),
}


def refuses(table: Table) -> None:
    with pytest.raises(StoreError, match=str(table.path)):
        table.read()
    with pytest.raises(StoreError, match=str(table.path)):
        table.append(lambda _: rows(99))


@pytest.mark.parametrize("how", COMMITS)
def test_a_torn_newest_commit_is_noticed(table: Table, how: str) -> None:
    # F4. Not noticed yet, for want of a manifest: a commit cut off exactly between two lines, or gone altogether.
    table.append(lambda _: rows(1))
    table.append(lambda _: rows(2))
    COMMITS[how](newest_log(table))
    refuses(table)


@pytest.mark.parametrize("how", FILES)
def test_a_torn_data_file_is_noticed(table: Table, how: str) -> None:
    # F4, F5. Not noticed yet, for want of checksums: some flipped bits, and a file replaced by another sound one.
    table.append(lambda _: rows(1))
    FILES[how](a_data_file(table))
    refuses(table)


def test_a_lost_commit_in_the_middle_is_noticed(table: Table) -> None:
    for key in range(3):
        table.append(lambda _, key=key: rows(key))
    sorted((table.path / "_delta_log").glob("*.json"))[2].unlink()
    refuses(table)


@pytest.mark.parametrize("whole", [True, False])
def test_data_whose_log_is_lost_is_not_an_empty_table(table: Table, whole: bool) -> None:
    table.append(lambda _: rows(1))
    if whole:
        shutil.rmtree(table.path / "_delta_log")
    else:
        for log in (table.path / "_delta_log").iterdir():
            log.unlink()
    refuses(table)


def test_a_process_that_has_read_by_threads_ends_well(table: Table) -> None:
    # deltalake's own file system aborted the interpreter at exit, now and then.
    for n in range(4):
        table.append(lambda _, n=n: rows(n, month=f"2001-0{n + 1}"))
    for reader in [process(READ, str(table.path)) for _ in range(5)]:
        told, error = reader.communicate(timeout=120)
        assert (reader.returncode, told.strip(), error) == (0, "16", "")
