from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable

from pipeline.errors import StoreError
from pipeline.store.delta.table import Table
from pipeline.store.objects import open_store
from tests.tables import WIDER, append_each, keys, open_table, reopen, rows


@pytest.fixture
def table(bucket: str) -> Table:
    return open_table(open_store(bucket) / "deep" / "table")


def test_a_table_is_written_read_compacted_and_vacuumed(table: Table) -> None:
    assert (table.exists, table.version, table.read().num_rows) == (False, -1, 0)
    table.create({"since": "1978"})
    table.append(lambda _: rows(2, 1))
    table.append(lambda existing: rows(*(key + 2 for key in existing["key"].to_pylist())), where=pc.field("key") > 0)
    table.replace_partition("2001-02", rows(7, month="2001-02"))
    table.replace_partition("2001-02", rows(8, month="2001-02"))
    reopen(table, WIDER).append(lambda _: rows(9).append_column("speed", pa.array([1.5])))
    fresh = reopen(table)
    assert (keys(fresh), fresh.property("since")) == ([1, 2, 3, 4, 8, 9], "1978")
    assert keys(fresh, (pc.field("month") == "2001-01") & (pc.field("key") > 2)) == [3, 4, 9]
    assert fresh.compact(["key"]) == 2
    fresh.checkpoint()
    assert reopen(table, WIDER).read()["key"].to_pylist() == [1, 2, 3, 4, 9, 8]
    before = fresh.store.list_files()
    deleted = fresh.vacuum(older_than=timedelta(0), now=datetime(2100, 1, 1, tzinfo=UTC))
    assert len(deleted) == 4
    assert len(fresh.store.list_files()) == len(before) - 4
    assert (keys(fresh), fresh.fault, fresh.verify()) == ([1, 2, 3, 4, 8, 9], None, [])
    assert DeltaTable(table.uri).to_pyarrow_table().num_rows == 6


def test_a_lost_commit_is_noticed_and_restored(table: Table) -> None:
    append_each(table, 1, 2, 3)
    table.store.delete(f"_delta_log/{3:020}.json")
    fresh = reopen(table)
    assert (keys(fresh), fresh.fault) == ([1, 2], "commit 3 is missing; version 2 is served")
    with pytest.raises(StoreError, match="maintain --repair"):
        fresh.append(lambda _: rows(4))
    assert [step.outcome for step in fresh.repair()] == ["restored"]
    assert (keys(fresh), fresh.fault) == ([1, 2, 3], None)


def test_an_altered_data_file_is_never_read(table: Table) -> None:
    table.append(lambda _: rows(1))
    (name,) = [entry.name for entry in table.store.list_files() if entry.name.endswith(".parquet")]
    content = bytearray(table.store.read(name))
    content[20] ^= 1
    table.store.put(name, bytes(content))
    with pytest.raises(StoreError, match=f"{name}: data file is altered"):
        table.read()
    assert len(table.verify()) == 1
    table.store.delete(name)
    with pytest.raises(StoreError, match=f"{name}: data file is missing"):
        reopen(table).read()
