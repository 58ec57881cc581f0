from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable

from pipeline.errors import StoreError
from pipeline.store.delta.digests import forget_checks
from pipeline.store.delta.table import Table
from pipeline.store.objects import open_store

SCHEMA = pa.schema([("key", pa.int64()), ("who", pa.string()), ("month", pa.string())])
WIDER = SCHEMA.append(pa.field("speed", pa.float64()))


def rows(*keys: int, month: str = "2001-01") -> pa.Table:
    return pa.table({"key": list(keys), "who": ["me"] * len(keys), "month": [month] * len(keys)}, schema=SCHEMA)


@pytest.fixture
def table(bucket: str) -> Table:
    return Table(open_store(bucket) / "deep" / "table", SCHEMA, "month")


def again(table: Table, schema: pa.Schema = SCHEMA) -> Table:
    forget_checks()
    return Table(table.place, schema, "month")


def keys(table: Table, where: pc.Expression | None = None) -> list[int]:
    return sorted(table.read(where)["key"].to_pylist())


def test_the_whole_life_of_a_table(table: Table) -> None:
    assert (table.exists, table.version, table.read().num_rows) == (False, -1, 0)
    table.create({"since": "1978"})
    table.append(lambda _: rows(2, 1))
    table.append(lambda present: rows(*(key + 2 for key in present["key"].to_pylist())), where=pc.field("key") > 0)
    table.replace_partition("2001-02", rows(7, month="2001-02"))
    table.replace_partition("2001-02", rows(8, month="2001-02"))
    again(table, WIDER).append(lambda _: rows(9).append_column("speed", pa.array([1.5])))
    fresh = again(table)
    assert (keys(fresh), fresh.property("since")) == ([1, 2, 3, 4, 8, 9], "1978")
    assert keys(fresh, (pc.field("month") == "2001-01") & (pc.field("key") > 2)) == [3, 4, 9]
    assert fresh.compact(["key"]) == 2
    fresh.checkpoint()
    assert again(table, WIDER).read()["key"].to_pylist() == [1, 2, 3, 4, 9, 8]
    before = fresh.place.entries()
    gone = fresh.vacuum(older_than=timedelta(0), now=datetime(2100, 1, 1, tzinfo=UTC))
    assert len(gone) == 4
    assert len(fresh.place.entries()) == len(before) - 4
    assert (keys(fresh), fresh.fault, fresh.verify()) == ([1, 2, 3, 4, 8, 9], None, [])
    assert DeltaTable(table.uri).to_pyarrow_table().num_rows == 6


def test_a_lost_commit_is_noticed_and_brought_back(table: Table) -> None:
    for key in (1, 2, 3):
        table.append(lambda _, key=key: rows(key))
    table.place.remove(f"_delta_log/{3:020}.json")
    fresh = again(table)
    assert (keys(fresh), fresh.fault) == ([1, 2], "commit 3 is missing; version 2 is served")
    with pytest.raises(StoreError, match="maintain --repair"):
        fresh.append(lambda _: rows(4))
    assert fresh.repair().lost_since is None
    assert (keys(fresh), fresh.fault) == ([1, 2, 3], None)


def test_an_altered_data_file_is_never_read(table: Table) -> None:
    table.append(lambda _: rows(1))
    (name,) = [entry.name for entry in table.place.entries() if entry.name.endswith(".parquet")]
    content = bytearray(table.place.read(name))
    content[20] ^= 1
    table.place.write(name, bytes(content))
    with pytest.raises(StoreError, match=f"{name}: data file is altered"):
        table.read()
    assert len(table.verify()) == 1
    table.place.remove(name)
    with pytest.raises(StoreError, match=f"{name}: data file is missing"):
        again(table).read()
