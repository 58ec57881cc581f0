from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable

from pipeline.errors import StoreError
from pipeline.store.delta import table as table_module
from pipeline.store.delta.table import Table
from pipeline.store.delta.versions import Versions
from pipeline.store.objects import open_store
from tests.tables import SCHEMA, folder, keys, reopen, rows


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(open_store(tmp_path / "deep" / "table"), SCHEMA, "month")


def test_a_table_without_any_write_is_empty(table: Table) -> None:
    assert not table.exists
    assert table.version == -1
    assert table.property("since") is None
    assert table.read() == SCHEMA.empty_table()
    assert table.read(columns=["key"]).schema.names == ["key"]
    assert not folder(table).exists()


def test_appended_rows_are_read_in_the_schema_of_the_table(table: Table) -> None:
    given = rows(3, 1).append_column("more", pa.array([0, 0])).select(["more", "month", "who", "key"])
    assert table.append(lambda _: given).num_rows == 2
    table.append(lambda _: rows(2, month="2001-02"))
    assert table.exists
    assert table.read().schema == SCHEMA
    assert keys(table) == [1, 2, 3]
    assert keys(table, pc.field("month") == "2001-02") == [2]
    assert keys(table, pc.field("key") > 1) == [2, 3]
    assert table.read(columns=["who"]).schema.names == ["who"]


def test_a_partition_name_with_path_characters_is_preserved(table: Table) -> None:
    hostile = "../a b%2F=\u202e'\""
    table.append(lambda _: rows(1, month=hostile))
    assert table.read()["month"].to_pylist() == [hostile]


def test_appending_no_rows_does_not_commit(table: Table) -> None:
    table.append(lambda _: rows(1))
    before = table.version
    assert table.append(lambda _: rows()).num_rows == 0
    assert table.version == before


def test_choose_receives_the_rows_that_match_where(table: Table) -> None:
    table.append(lambda _: rows(1, 2))
    table.append(lambda _: rows(3, month="2001-02"))
    seen: list[int] = []

    def choose(existing: pa.Table) -> pa.Table:
        seen.extend(existing["key"].to_pylist())
        return rows(4)

    table.append(choose, where=pc.field("month") == "2001-01")
    assert sorted(seen) == [1, 2]


def test_properties_of_the_first_creator_hold(table: Table) -> None:
    table.create({"since": "1978", "other": "x"})
    table.create({"since": "2001"})
    assert (table.property("since"), table.property("other")) == ("1978", "x")
    table.append(lambda _: rows(1))
    assert table.property("since") == "1978"
    assert table.property("none") is None
    assert reopen(table).property("since") == "1978"


@pytest.mark.parametrize("moment", ["after the check", "before the commit"])
def test_one_of_two_concurrent_creators_wins(table: Table, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    create, newest_writable = DeltaTable.create, Versions.newest_writable

    def other() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(DeltaTable, "create", create)
            patch.setattr(Versions, "newest_writable", newest_writable)
            reopen(table).create({"since": "1978"})

    def find_nothing(_: Versions) -> None:
        monkeypatch.setattr(Versions, "newest_writable", newest_writable)
        other()

    def overtaken(*given: Any, **named: Any) -> None:
        other()
        create(*given, **named)

    if moment == "after the check":
        monkeypatch.setattr(Versions, "newest_writable", find_nothing)
    else:
        monkeypatch.setattr(DeltaTable, "create", overtaken)
    table.create({"since": "2001"})
    monkeypatch.undo()
    assert table.property("since") == "1978"
    assert table.fault is None


def test_an_append_is_computed_again_after_another_commit(table: Table) -> None:
    table.append(lambda _: rows(1))
    calls: list[list[int]] = []

    def choose(existing: pa.Table) -> pa.Table:
        calls.append(sorted(existing["key"].to_pylist()))
        if len(calls) == 1:
            reopen(table).append(lambda _: rows(2, who="other"))
        return rows() if 2 in existing["key"].to_pylist() else rows(2)

    assert table.append(choose).num_rows == 0
    assert calls == [[1], [1, 2]]
    assert table.read(pc.field("key") == 2)["who"].to_pylist() == ["other"]


def test_a_commit_to_another_partition_counts_as_a_conflict(table: Table) -> None:
    table.append(lambda _: rows(1))
    calls = 0

    def choose(existing: pa.Table) -> pa.Table:
        nonlocal calls
        calls += 1
        if calls == 1:
            reopen(table).append(lambda _: rows(9, month="2099-01"))
        return rows(2)

    table.append(choose, where=pc.field("month") == "2001-01")
    assert (calls, keys(table)) == (2, [1, 2, 9])


def test_an_append_gives_up_after_too_many_conflicts(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    table.append(lambda _: rows(0))
    waits: list[float] = []
    monkeypatch.setattr(table_module, "ATTEMPTS", 5)
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)

    def choose(existing: pa.Table) -> pa.Table:
        reopen(table).append(lambda _: rows(len(existing), who="other"))
        return rows(99)

    with pytest.raises(StoreError, match="5 commits in a row met another writer; run fewer jobs at once"):
        table.append(choose)
    assert len(waits) == 4
    assert all(0 <= wait <= 0.02 * number for number, wait in enumerate(waits, 1))
    assert 99 not in keys(table)
    # The files of the five attempts were deleted.
    assert len(list(folder(table).glob("*.parquet"))) == 6


def test_an_error_in_choose_is_raised(table: Table) -> None:
    def choose(existing: pa.Table) -> pa.Table:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        table.append(choose)
    assert keys(table) == []


def test_replacing_a_partition_leaves_the_others_unchanged(table: Table) -> None:
    table.replace_partition("2001-01", rows(1, 2))
    table.replace_partition("2001-02", rows(3, month="2001-02"))
    table.replace_partition("2001-01", rows(7))
    assert keys(table) == [3, 7]
    table.replace_partition("2001-01", rows(7))  # idempotent
    assert keys(table) == [3, 7]


def test_replacing_a_partition_refuses_rows_of_another(table: Table) -> None:
    table.replace_partition("2001-01", rows(1))
    with pytest.raises(StoreError, match="cannot replace 2001-01"):
        table.replace_partition("2001-01", rows(2, month="2001-02"))
    assert keys(table) == [1]


def test_equal_rows_appended_twice_are_two_files_with_one_digest(table: Table) -> None:
    table.append(lambda _: rows(1))
    table.append(lambda _: rows(1))
    names = sorted(path.name for path in folder(table).glob("*.parquet"))
    assert len(names) == 2
    assert names[0][:64] == names[1][:64]
    assert keys(table) == [1, 1]


def test_rows_keep_their_order(table: Table) -> None:
    table.append(lambda _: rows(3, 1, 2))
    table.append(lambda _: rows(9, 0))
    assert table.read()["key"].to_pylist() == [3, 1, 2, 9, 0]


@pytest.mark.parametrize("month", ["", None])
def test_a_row_without_a_partition_is_refused(table: Table, month: str | None) -> None:
    with pytest.raises(StoreError, match="'month': a row has no partition"):
        table.append(lambda _: rows(1, month=month))
    assert keys(table) == []
