import json
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import ContractError
from pipeline.locations import Locations
from pipeline.sources.base import REFUSED_SCHEMA, row_schema
from pipeline.sources.layouts import decode_long, decode_wide

SIX, SEVEN = (datetime(2020, 1, 1, hour, tzinfo=UTC) for hour in (6, 7))
PAIR = {
    "wind_speed": {"source_units": "knot", "limits": [0, 60]},
    "air_temperature": {"source_name": "T", "source_units": "degF"},
}


def test_wide_becomes_one_row_a_cell_in_payload_order(make_product, locations: Locations) -> None:
    product = make_product()
    table = pa.table({"time": ["2020-01-01 07:00", "2020-01-01 06:00"], "B": ["2", ""], "A": ["1", "3"]})
    decoded = decode_wide(table, product, locations)
    assert decoded.rows.schema == row_schema(product)
    assert decoded.rows.to_pylist() == [
        {"valid_time": SEVEN, "location": "B", "wind_speed": 2.0},
        {"valid_time": SEVEN, "location": "A", "wind_speed": 1.0},
        {"valid_time": SIX, "location": "A", "wind_speed": 3.0},
    ]
    assert decoded.refused.num_rows == 0
    assert decoded.refused.schema == REFUSED_SCHEMA


def test_units_are_converted_to_those_of_the_store(make_product, locations: Locations) -> None:
    product = make_product(variables={"wind_speed": {"units": "m s-1", "source_units": "knot"}})
    rows = decode_wide(pa.table({"time": ["2020-01-01"], "A": [10.0]}), product, locations).rows
    assert rows.column("wind_speed").to_pylist() == [pytest.approx(5.144444444, abs=1e-9)]


def test_unreadable_wide_cells_are_refused_with_what_was_given(make_product, locations: Locations) -> None:
    table = pa.table({"time": ["2020-01-01 06:00", "soon"], "A": ["abc", "1e999"], "B": ["1", "2"]})
    decoded = decode_wide(table, make_product(), locations)
    assert decoded.rows.num_rows == 1
    refused = decoded.refused.to_pylist()
    assert [(row["valid_time"], row["location"], row["reason"]) for row in refused] == [
        (SIX, "A", "wind_speed: 'abc' is no number"),
        (None, "A", "time: 'soon' is no time stamp; wind_speed: '1e999' is no number"),
        (None, "B", "time: 'soon' is no time stamp"),
    ]
    assert json.loads(refused[1]["values"]) == {"time": "soon", "A": "1e999"}


def test_a_column_that_is_no_station_is_refused_loudly(make_product, locations: Locations) -> None:
    table = pa.table({"time": ["2020-01-01"], "A": [1.0], "B2": [2.0]})
    with pytest.raises(ContractError, match=r"column 'B2' is no station; did you mean 'B'\? or list it in"):
        decode_wide(table, make_product(), locations)
    assert decode_wide(table, make_product(ignore=["B2"]), locations).rows.num_rows == 1


def test_a_table_without_station_or_time_column_is_refused(make_product, locations: Locations) -> None:
    with pytest.raises(ContractError, match="no column is a station; expected some of A, B, C"):
        decode_wide(pa.table({"time": ["2020-01-01"]}), make_product(), locations)
    with pytest.raises(ContractError, match=r"no column 'time'; did you mean 'Time'\? it has Time, A"):
        decode_wide(pa.table({"Time": ["2020-01-01"], "A": [1.0]}), make_product(), locations)


@given(order=st.permutations(["time", "A", "B", "C"]), dropped=st.sets(st.sampled_from("ABC"), max_size=2))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_new_column_order_and_lost_stations_shift_nothing(
    make_product, locations: Locations, order: list[str], dropped: set[str]
) -> None:
    # F18
    table = pa.table({"time": ["2020-01-01 06:00"], "A": [1.0], "B": [2.0], "C": [3.0]})
    kept = [name for name in order if name not in dropped]
    rows = decode_wide(table.select(kept), make_product(), locations).rows.to_pylist()
    found = {row["location"]: row["wind_speed"] for row in rows}
    assert found == {name: value for name, value in zip("ABC", (1.0, 2.0, 3.0), strict=True) if name not in dropped}


def long(**columns: list[object]) -> pa.Table:
    return pa.table({"time": ["2020-01-01 06:00"] * 3, "location": [" A ", "B", "Z"]} | columns)


def test_long_reads_variables_by_source_name_and_drops_rows_without_value(make_product) -> None:
    product = make_product(layout="long", variables=PAIR)
    table = long(wind_speed=["10", "", "NaN"], T=["50", "", "32"], extra=[1, 2, 3])
    decoded = decode_long(table, product)
    assert decoded.rows.schema == row_schema(product)
    first, last = decoded.rows.to_pylist()
    assert first == {
        "valid_time": SIX,
        "location": "A",
        "wind_speed": pytest.approx(5.1444444),
        "air_temperature": pytest.approx(10.0),
    }
    assert (last["location"], last["wind_speed"]) == ("Z", None)
    assert last["air_temperature"] == pytest.approx(0.0, abs=1e-9)
    assert decoded.rows.column("wind_speed").null_count == 1
    assert decoded.refused.num_rows == 0


def test_one_unreadable_cell_refuses_the_long_row_with_all_its_values(make_product) -> None:
    product = make_product(layout="long", variables=PAIR)
    decoded = decode_long(long(wind_speed=["10", "x", "1"], T=["50", "y", "32"]), product)
    assert decoded.rows.column("location").to_pylist() == ["A", "Z"]
    (row,) = decoded.refused.to_pylist()
    assert (row["valid_time"], row["location"]) == (SIX, "B")
    assert row["reason"] == "wind_speed: 'x' is no number; air_temperature: 'y' is no number"
    expected = {"time": "2020-01-01 06:00", "location": "B", "wind_speed": "x", "T": "y"}
    assert json.loads(row["values"]) == expected


@pytest.mark.parametrize("lost", ["time", "location", "T"])
def test_a_missing_long_column_is_named(make_product, lost: str) -> None:
    table = long(wind_speed=["1"] * 3, T=["2"] * 3)
    table = table.rename_columns([f"{name}_" if name == lost else name for name in table.column_names])
    with pytest.raises(ContractError, match=rf"no column '{lost}'; did you mean '{lost}_'\?"):
        decode_long(table, make_product(layout="long", variables=PAIR))


CELLS = st.sampled_from(["1", "2.5", "", "x", "inf", "nan", "-0"])
TIMES = st.sampled_from(["2020-01-01", "2024-09-29 02:30", "soon", ""])


@given(st.lists(st.tuples(TIMES, CELLS, CELLS), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_given_cell_is_a_row_or_refused(
    make_product, locations: Locations, given_rows: list[tuple[str, str, str]]
) -> None:
    product = make_product(time={"zone": "Pacific/Auckland"})
    times, first, second = map(list, zip(*given_rows, strict=True))
    decoded = decode_wide(pa.table({"time": times, "A": first, "B": second}), product, locations)
    present = sum(cell not in ("", "nan") for _, *cells in given_rows for cell in cells)
    assert decoded.rows.num_rows + decoded.refused.num_rows == present
    assert all(decoded.refused.column("reason").to_pylist())
    assert decoded.rows.column("valid_time").null_count == 0
