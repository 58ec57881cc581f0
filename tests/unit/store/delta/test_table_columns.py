"""Columns that are added to an existing table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.errors import StoreError
from pipeline.store.delta.table import Table
from pipeline.store.delta.versions import Versions
from pipeline.store.objects import open_store
from tests.tables import SCHEMA, WIDER, keys, reopen, rows


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(open_store(tmp_path / "deep" / "table"), SCHEMA, "month")


def test_a_new_column_is_null_in_existing_rows(table: Table) -> None:
    table.append(lambda _: rows(1))
    wider = reopen(table, WIDER)
    assert wider.read()["speed"].to_pylist() == [None]  # before the first write too
    assert wider.read(pc.field("speed") > 1).num_rows == 0
    wider.append(lambda _: rows(2).append_column("speed", pa.array([2.5])))
    assert wider.read().sort_by("key")["speed"].to_pylist() == [None, 2.5]
    assert wider.read(pc.field("speed") > 1)["key"].to_pylist() == [2]
    # A writer with the old schema is not affected.
    table.append(lambda _: rows(3))
    assert table.read().schema == SCHEMA
    assert keys(table) == [1, 2, 3]
    assert reopen(table, WIDER).read().sort_by("key")["speed"].to_pylist() == [None, 2.5, None]


def test_two_concurrent_writers_add_a_column_once(table: Table) -> None:
    table.append(lambda _: rows(1))

    seen: list[list[int]] = []

    def choose(existing: pa.Table) -> pa.Table:
        if not seen:
            reopen(table, WIDER).append(lambda _: rows(7).append_column("speed", pa.array([7.0])))
        seen.append(sorted(existing["key"].to_pylist()))
        return rows(2).append_column("speed", pa.array([2.0]))

    reopen(table, WIDER).append(choose)
    assert seen == [[1], [1, 7]]  # the row committed in between was seen
    assert reopen(table, WIDER).read().sort_by("key")["speed"].to_pylist() == [None, 2.0, 7.0]


def test_rows_of_a_writer_who_adds_the_column_first_are_seen(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    table.append(lambda _: rows(1))
    seen: list[list[int]] = []
    add_missing_columns = Versions.add_missing_columns

    def overtaken(self: Any, snapshot: Any, schema: pa.Schema) -> Any:
        if not seen:
            seen.append([])
            reopen(table, WIDER).append(lambda _: rows(2).append_column("speed", pa.array([7.0])))
        return add_missing_columns(self, snapshot, schema)

    def choose(existing: pa.Table) -> pa.Table:
        seen.append(sorted(existing["key"].to_pylist()))
        return (
            rows(2).append_column("speed", pa.array([2.0]))
            if 2 not in seen[-1]
            else rows().append_column("speed", pa.array([], pa.float64()))
        )

    monkeypatch.setattr(Versions, "add_missing_columns", overtaken)
    reopen(table, WIDER).append(choose)
    assert seen[-1] == [1, 2]
    assert keys(reopen(table, WIDER)) == [1, 2]


def test_a_column_of_another_type_is_refused(table: Table) -> None:
    table.append(lambda _: rows(1))
    other = reopen(table, pa.schema([("key", pa.string()), ("who", pa.string()), ("month", pa.string())]))
    with pytest.raises(StoreError, match="column 'key' is stored as int64, not as string"):
        other.append(lambda _: pa.table({"key": ["1"], "who": ["me"], "month": ["2001-01"]}))
    assert keys(table) == [1]
