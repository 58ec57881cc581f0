from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from operator import eq, ge, gt, le, lt, ne
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import StoreError
from pipeline.store.delta.encode import encode, statistics
from pipeline.store.delta.table import Table
from pipeline.store.objects import open_store

TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        ("valid_time", TIME),
        ("location", pa.string()),
        ("day", pa.date32()),
        ("count", pa.int64()),
        ("speed", pa.float64()),
        ("month", pa.string()),
    ]
)


def test_a_file_has_the_rows_of_one_partition_and_its_digest_as_name() -> None:
    rows = pa.table({"key": [3, 1, 2, 4], "month": ["b", "a", "b", "a"]})
    files = list(encode(rows, "month"))
    assert [file.action.partition_values for file in files] == [{"month": "b"}, {"month": "a"}]
    stored = [pq.read_table(io.BytesIO(file.content)) for file in files]
    assert [table.to_pydict() for table in stored] == [
        {"key": [3, 2]},
        {"key": [1, 4]},
    ]  # order kept, no month
    for file in files:
        assert file.name.startswith(hashlib.sha256(file.content).hexdigest())
        assert file.action.size == len(file.content)


def test_no_rows_give_no_file() -> None:
    assert list(encode(pa.table({"key": pa.array([], pa.int64())}), None)) == []
    assert list(encode(SCHEMA.empty_table(), "month")) == []


def test_rows_without_partitions_give_one_file() -> None:
    (file,) = encode(pa.table({"key": [1]}), None)
    assert file.action.partition_values == {}


def test_a_row_without_a_partition_is_refused() -> None:
    with pytest.raises(StoreError, match="'month': a row has no partition"):
        list(encode(pa.table({"key": [1, 2], "month": ["a", None]}), "month"))


def test_bounds_are_exact_to_the_microsecond_and_floats_have_none() -> None:
    rows = pa.table(
        {
            "valid_time": pa.array([datetime(2001, 1, 1, 0, 0, 0, 999_999, tzinfo=UTC), None], TIME),
            "location": ["b", "a"],
            "day": [date(2001, 1, 2), date(2001, 1, 1)],
            "count": pa.array([2**63 - 1, -(2**63)]),
            "speed": [1.0, float("nan")],
            "flag": [True, False],
        }
    )
    assert statistics(rows) == {
        "numRecords": 2,
        "minValues": {
            "valid_time": "2001-01-01T00:00:00.999999Z",
            "location": "a",
            "day": "2001-01-01",
            "count": -(2**63),
        },
        "maxValues": {
            "valid_time": "2001-01-01T00:00:00.999999Z",
            "location": "b",
            "day": "2001-01-02",
            "count": 2**63 - 1,
        },
        "nullCount": {"valid_time": 1, "location": 0, "day": 0, "count": 0},
    }
    json.dumps(statistics(rows))


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["x" * 65, "a"]),
        pa.array([253_402_300_800_000_000], TIME),  # the year 10000
        pa.array([-62_135_596_800_000_001], TIME),  # before the year 1
        pa.array([2_932_897], pa.date32()),
        pa.array([None], pa.int64()),
    ],
)
def test_values_that_the_log_cannot_write_exactly_have_no_bounds(column: pa.Array) -> None:
    found = statistics(pa.table({"x": column}))
    assert (found["minValues"], found["maxValues"]) == ({}, {})
    assert found["nullCount"] == {"x": column.null_count}


INSTANTS = st.integers(-3, 3).map(lambda n: n) | st.integers(-62_135_596_800_000_001, 253_402_300_800_000_000)
TEXTS = st.sampled_from(["", "a", "b", "é", "\u202e", "a" * 65, "\U0001f600", '"\\\n']) | st.text(max_size=3).filter(
    lambda text: "\x00" not in text
)
NUMBERS = st.integers(-2, 2) | st.integers(-(2**63), 2**63 - 1) | st.sampled_from([2**53, 2**53 + 1])
SPEEDS = st.sampled_from([0.0, -0.0, 1.0, 2.0, float("nan"), float("inf")])
ROW = st.tuples(
    st.none() | INSTANTS,
    st.none() | TEXTS,
    st.none() | st.integers(-719_163, 2_932_897),
    st.none() | NUMBERS,
    st.none() | SPEEDS,
    st.sampled_from(["2001-01", "2001-02"]),
)
COMPARISONS: list[Callable[[Any, Any], Any]] = [eq, ge, gt, le, lt, ne]


def literals(name: str) -> st.SearchStrategy[Any]:
    if name == "valid_time":
        return INSTANTS.map(lambda value: pa.scalar(value, pa.int64()).cast(TIME))
    if name == "day":
        return st.integers(-719_163, 2_932_897).map(lambda value: pa.scalar(value, pa.int32()).cast(pa.date32()))
    return {"location": TEXTS, "count": NUMBERS, "speed": SPEEDS, "month": st.sampled_from(["2001-01", "x"])}[name]


@st.composite
def conditions(draw: st.DrawFn) -> pc.Expression:
    terms = []
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(SCHEMA.names))
        here = pc.field(name)
        kind = draw(st.sampled_from(["compare", "null", "valid", "within", "not"]))
        if kind == "null":
            terms.append(here.is_null())
        elif kind == "valid":
            terms.append(here.is_valid())
        elif kind == "within":
            wanted = [draw(literals(name)) for _ in range(2)]
            terms.append(here.isin(pa.array(wanted, SCHEMA.field(name).type)))
        else:
            term = draw(st.sampled_from(COMPARISONS))(here, draw(literals(name)))
            terms.append(~term if kind == "not" else term)
    condition = terms[0]
    for term in terms[1:]:
        condition = condition & term if draw(st.booleans()) else condition | term
    return condition


def append(table: Table, new: pa.Table) -> None:
    table.append(lambda _: new)


@given(st.lists(st.lists(ROW, min_size=1, max_size=4), min_size=1, max_size=4), st.lists(conditions(), max_size=6))
@settings(max_examples=60, deadline=None)
def test_pruning_by_statistics_loses_no_row(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[Any, ...]]], wheres: list[pc.Expression]
) -> None:
    table = Table(open_store(Path(tmp_path_factory.mktemp("table"))), SCHEMA, "month")
    for batch in batches:
        columns = dict(zip(SCHEMA.names, zip(*batch, strict=True), strict=True))
        instants = pa.array(columns.pop("valid_time"), pa.int64()).cast(TIME)
        days = pa.array(columns.pop("day"), pa.int32()).cast(pa.date32())
        rows = pa.table({"valid_time": instants, "day": days} | {name: list(columns[name]) for name in columns})
        append(table, rows.select(SCHEMA.names).cast(SCHEMA))
    everything = table.read()
    assert everything.num_rows == sum(map(len, batches))
    for where in wheres:
        assert table.read(where).num_rows == everything.filter(where).num_rows, str(where)


def test_a_condition_selects_only_files_that_can_match(tmp_path: Path) -> None:
    table = Table(open_store(tmp_path), SCHEMA, "month")
    for month in (1, 2):
        for hour in (0, 12):
            row = {"valid_time": datetime(2001, month, 1, hour, tzinfo=UTC), "month": f"2001-0{month}", "location": "a"}
            append(table, pa.Table.from_pylist([row], schema=SCHEMA))
    snapshot = table.versions.newest()
    assert snapshot is not None

    def count_selected(where: pc.Expression) -> int:
        return len(snapshot.scan.select(where, SCHEMA))

    noon = pa.scalar(datetime(2001, 1, 1, 12, tzinfo=UTC), TIME)
    assert count_selected(pc.field("month") == "2001-01") == 2
    assert count_selected(pc.field("valid_time") >= noon) == 3
    assert count_selected((pc.field("valid_time") >= noon) & (pc.field("month") == "2001-01")) == 1
    assert count_selected(pc.field("location") == "b") == 0
    assert count_selected(pc.field("speed") > 1) == 4
