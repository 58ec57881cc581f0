from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable, write_deltalake

from pipeline.errors import StoreError
from pipeline.store.delta import table as table_module
from pipeline.store.delta import versions as versions_module
from pipeline.store.delta.table import Table
from pipeline.store.delta.versions import Versions
from pipeline.store.objects import LocalStore, open_store

SCHEMA = pa.schema([("key", pa.int64()), ("who", pa.string()), ("month", pa.string())])
WIDER = SCHEMA.append(pa.field("speed", pa.float64()))
ROOT = Path(__file__).resolve().parents[3]
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


def rows(*keys: int, who: str = "me", month: str = "2001-01") -> pa.Table:
    return pa.table({"key": list(keys), "who": [who] * len(keys), "month": [month] * len(keys)}, schema=SCHEMA)


def keys(table: Table, where: pc.Expression | None = None) -> list[int]:
    return sorted(table.read(where)["key"].to_pylist())


def folder(table: Table) -> Path:
    assert isinstance(table.place, LocalStore)
    return table.place.path


def again(table: Table, schema: pa.Schema = SCHEMA) -> Table:
    """The same table, as another process sees it."""
    return Table(table.place, schema, "month")


def newest_log(table: Table) -> Path:
    return max((folder(table) / "_delta_log").glob("*.json"))


def a_data_file(table: Table) -> Path:
    return next(folder(table).glob("*.parquet"))


def process(code: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(open_store(tmp_path / "deep" / "table"), SCHEMA, "month")


def test_a_table_that_was_never_written_is_empty(table: Table) -> None:
    assert not table.exists
    assert table.version == -1
    assert table.property("since") is None
    assert table.read() == SCHEMA.empty_table()
    assert table.read(columns=["key"]).schema.names == ["key"]
    assert not folder(table).exists()


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
    assert again(table).property("since") == "1978"


@pytest.mark.parametrize("asked", ["looked", "committed"])
def test_of_two_that_create_at_once_one_wins(table: Table, monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    create, writable = DeltaTable.create, Versions.writable

    def other() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(versions_module.DeltaTable, "create", create)
            patch.setattr(Versions, "writable", writable)
            again(table).create({"since": "1978"})

    def nothing_yet(_: Versions) -> None:
        monkeypatch.setattr(Versions, "writable", writable)
        other()  # right after this process has looked

    def overtaken(*given: Any, **named: Any) -> None:
        other()  # right before its commit
        create(*given, **named)

    if asked == "looked":
        monkeypatch.setattr(Versions, "writable", nothing_yet)
    else:
        monkeypatch.setattr(versions_module.DeltaTable, "create", overtaken)
    table.create({"since": "2001"})
    monkeypatch.undo()
    assert table.property("since") == "1978"
    assert table.fault is None


def test_an_append_that_another_overtook_is_computed_anew(table: Table) -> None:
    # F3, in a fixed order
    table.append(lambda _: rows(1))
    calls: list[list[int]] = []

    def choose(present: pa.Table) -> pa.Table:
        calls.append(sorted(present["key"].to_pylist()))
        if len(calls) == 1:
            again(table).append(lambda _: rows(2, who="other"))
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
            again(table).append(lambda _: rows(9, month="2099-01"))
        return rows(2)

    table.append(choose, where=pc.field("month") == "2001-01")
    assert (calls, keys(table)) == (2, [1, 2, 9])


def test_an_append_that_is_overtaken_for_ever_gives_up(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    table.append(lambda _: rows(0))
    waits: list[float] = []
    monkeypatch.setattr(table_module, "ATTEMPTS", 5)
    monkeypatch.setattr(table_module.time, "sleep", waits.append)

    def choose(present: pa.Table) -> pa.Table:
        again(table).append(lambda _: rows(len(present), who="other"))
        return rows(99)

    with pytest.raises(StoreError, match="5 commits in a row met another writer; run fewer jobs at once"):
        table.append(choose)
    assert len(waits) == 5
    assert min(waits) >= 0 and max(waits) <= 0.02 * 5
    assert 99 not in keys(table)
    # Nothing of the five attempts is left.
    assert len(list(folder(table).glob("*.parquet"))) == 6


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


def test_data_log_and_record_are_flushed_before_append_returns(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    # F4
    table.append(lambda _: rows(0))
    flushed: list[str] = []
    sync, write = os.fsync, DeltaTable.create_write_transaction
    monkeypatch.setattr(
        os, "fsync", lambda handle: (flushed.append(str(Path(f"/proc/self/fd/{handle}").readlink())), sync(handle))[1]
    )

    def committed(*given: Any, **named: Any) -> None:
        write(*given, **named)
        flushed.append("commit")

    monkeypatch.setattr(versions_module.DeltaTable, "create_write_transaction", committed)
    before = set(folder(table).glob("*.parquet"))
    table.append(lambda _: rows(1))
    (data,) = set(folder(table).glob("*.parquet")) - before
    log = newest_log(table)
    commit = flushed.index("commit")
    assert {str(data), str(folder(table))} <= set(flushed[:commit])
    assert {str(log), str(log.parent), str(folder(table) / "_manifest" / "commits")} <= set(flushed[commit:])


def test_a_file_is_named_by_its_digest_and_the_same_rows_twice_are_two_files(table: Table) -> None:
    table.append(lambda _: rows(1))
    table.append(lambda _: rows(1))
    names = sorted(path.name for path in folder(table).glob("*.parquet"))
    assert len(names) == 2
    assert names[0][:64] == names[1][:64]
    assert keys(table) == [1, 1]


def test_rows_are_kept_in_the_order_given(table: Table) -> None:
    table.append(lambda _: rows(3, 1, 2))
    table.append(lambda _: rows(9, 0))
    assert table.read()["key"].to_pylist() == [3, 1, 2, 9, 0]


@pytest.mark.parametrize("month", ["", None])
def test_a_row_without_a_partition_is_refused(table: Table, month: str | None) -> None:
    with pytest.raises(StoreError, match="'month': a row names no partition"):
        table.append(lambda _: rows(1, month=month))  # type: ignore[arg-type]
    assert keys(table) == []


def test_a_new_column_is_added_and_old_rows_have_no_value_in_it(table: Table) -> None:
    table.append(lambda _: rows(1))
    wider = again(table, WIDER)
    assert wider.read()["speed"].to_pylist() == [None]  # reading does not wait for the first write
    assert wider.read(pc.field("speed") > 1).num_rows == 0
    wider.append(lambda _: rows(2).append_column("speed", pa.array([2.5])))
    assert wider.read().sort_by("key")["speed"].to_pylist() == [None, 2.5]
    assert wider.read(pc.field("speed") > 1)["key"].to_pylist() == [2]
    # Who does not know the column goes on as before.
    table.append(lambda _: rows(3))
    assert table.read().schema == SCHEMA
    assert keys(table) == [1, 2, 3]
    assert again(table, WIDER).read().sort_by("key")["speed"].to_pylist() == [None, 2.5, None]


def test_a_column_that_two_add_at_once_is_there_once(table: Table) -> None:
    table.append(lambda _: rows(1))

    seen: list[list[int]] = []

    def choose(present: pa.Table) -> pa.Table:
        if not seen:
            again(table, WIDER).append(lambda _: rows(7).append_column("speed", pa.array([7.0])))
        seen.append(sorted(present["key"].to_pylist()))
        return rows(2).append_column("speed", pa.array([2.0]))

    again(table, WIDER).append(choose)
    assert seen == [[1], [1, 7]]  # what came in between was looked at
    assert again(table, WIDER).read().sort_by("key")["speed"].to_pylist() == [None, 2.0, 7.0]


def test_a_column_that_another_adds_between_looking_and_adding_is_looked_at(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.append(lambda _: rows(1))
    widen, seen = versions_module.Versions.widen, []

    def slow(self: Any, view: Any, schema: pa.Schema) -> Any:
        if not seen:
            seen.append([])
            again(table, WIDER).append(lambda _: rows(2).append_column("speed", pa.array([7.0])))
        return widen(self, view, schema)

    def choose(present: pa.Table) -> pa.Table:
        seen.append(sorted(present["key"].to_pylist()))
        return (
            rows(2).append_column("speed", pa.array([2.0]))
            if 2 not in seen[-1]
            else rows().append_column("speed", pa.array([], pa.float64()))
        )

    monkeypatch.setattr(versions_module.Versions, "widen", slow)
    again(table, WIDER).append(choose)
    assert seen[-1] == [1, 2]
    assert keys(again(table, WIDER)) == [1, 2]


def test_a_column_of_another_type_is_refused(table: Table) -> None:
    table.append(lambda _: rows(1))
    other = again(table, pa.schema([("key", pa.string()), ("who", pa.string()), ("month", pa.string())]))
    with pytest.raises(StoreError, match="column 'key' is kept as int64, not as string"):
        other.append(lambda _: pa.table({"key": ["1"], "who": ["me"], "month": ["2001-01"]}))
    assert keys(table) == [1]


def test_delta_rs_reads_what_is_written(table: Table) -> None:
    table.append(lambda _: rows(1, 2))
    table.replace_partition("2001-02", rows(3, month="2001-02"))
    table.compact(["key"])
    assert sorted(DeltaTable(table.uri).to_pyarrow_table()["key"].to_pylist()) == [1, 2, 3]
    assert DeltaTable(table.uri).count() == 3


def test_a_table_that_delta_rs_wrote_is_read_and_continued(tmp_path: Path) -> None:
    # As version 0.1 did: no manifest, no digests in the names, instants in statistics cut to milliseconds.
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
def test_a_writer_who_comes_while_another_looks_is_no_fault(
    table: Table, monkeypatch: pytest.MonkeyPatch, listing: str, when: str
) -> None:
    table.append(lambda _: rows(1))
    entries, came = LocalStore.entries, []

    def overtaken(place: LocalStore, folder: str = "", **named: Any) -> Any:
        first = not came and folder == listing
        if first:
            came.append(1)
        if first and when == "before":
            again(table).append(lambda _: rows(2))
        found = entries(place, folder, **named)
        if first and when == "after":
            again(table).append(lambda _: rows(2))
        return found

    monkeypatch.setattr(LocalStore, "entries", overtaken)
    assert again(table).fault is None
    came.clear()
    again(table).append(lambda present: rows(3))
    assert (keys(table), table.fault) == ([1, 2, 2, 3], None)


def test_another_programs_commit_is_told_and_not_built_upon(table: Table) -> None:
    table.append(lambda _: rows(1))
    write_deltalake(table.uri, rows(2), mode="append")
    assert keys(table) == [1]
    assert table.fault == "commit 2 was written by another program; version 1 is served"
    with pytest.raises(StoreError, match=r"written by another program.*nightcast maintain --repair"):
        table.append(lambda _: rows(3))


Damage = Callable[[Path], object]
FILES: dict[str, Damage] = {
    "emptied": lambda file: file.write_bytes(b""),
    "torn": lambda file: file.write_bytes(file.read_bytes()[:-100]),
    "lengthened": lambda file: file.write_bytes(file.read_bytes() + b"xx"),
    "gone": lambda file: file.unlink(),
    "another": lambda file: file.write_bytes(file.with_name("other.parquet").read_bytes()),
}


def refuses(table: Table) -> None:
    with pytest.raises(StoreError, match=str(folder(table))):
        again(table).read()
    with pytest.raises(StoreError, match=str(folder(table))):
        again(table).append(lambda _: rows(99))


@pytest.mark.parametrize("how", FILES)
def test_a_torn_data_file_is_noticed(table: Table, how: str) -> None:
    # F4, F5
    table.append(lambda _: rows(1))
    assert keys(table) == [1]
    data = a_data_file(table)
    table.replace_partition("2001-02", rows(2, month="2001-02"))
    (other,) = set(folder(table).glob("*.parquet")) - {data}
    shutil.copy(other, data.with_name("other.parquet"))
    FILES[how](data)
    refuses(table)


@pytest.mark.parametrize("whole", [True, False])
def test_data_whose_log_is_lost_is_not_an_empty_table(table: Table, whole: bool) -> None:
    table.append(lambda _: rows(1))
    shutil.rmtree(folder(table) / "_manifest")
    if whole:
        shutil.rmtree(folder(table) / "_delta_log")
    else:
        for log in (folder(table) / "_delta_log").iterdir():
            log.unlink()
    refuses(table)


def test_a_process_that_has_read_by_threads_ends_well(table: Table) -> None:
    # deltalake's own file system aborted the interpreter at exit, now and then.
    for n in range(4):
        table.append(lambda _, n=n: rows(n, month=f"2001-0{n + 1}"))
    for reader in [process(READ, str(folder(table))) for _ in range(5)]:
        told, error = reader.communicate(timeout=120)
        assert (reader.returncode, told.strip(), error) == (0, "16", "")
