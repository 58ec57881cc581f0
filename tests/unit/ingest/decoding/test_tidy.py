import json
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config import Product
from pipeline.errors import ContractError
from pipeline.ingest.decoding.layouts import decode_table
from pipeline.ingest.sources.base import Decoded
from pipeline.locations import Locations
from tests.unit.ingest.conftest import MakeProduct, files_source

SIX, SEVEN = (datetime(2020, 1, 1, hour, tzinfo=UTC) for hour in (6, 7))
PAIR = {"wind_speed": {"source_name": "W"}, "air_temperature": {"units": "degC", "source_name": "T"}}


@pytest.fixture
def product(make_product: MakeProduct) -> Product:
    return make_product(layout="tidy", variables=PAIR)


def decode(product: Product, locations: Locations, *cells: tuple[object, ...]) -> Decoded:
    time, location, variable, value = map(list, zip(*cells, strict=True))
    clock = [None if hour is None else f"2020-01-01 {hour}" for hour in time]
    table = pa.table({"time": clock, "location": location, "variable": variable, "value": value})
    return decode_table(table, product.feed, files_source(product.feed), locations)


def rows(decoded: Decoded) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in decoded.rows.to_pylist()]


def test_cells_of_one_time_and_location_become_one_row(product: Product, locations: Locations) -> None:
    decoded = decode(
        product,
        locations,
        ("06:00", "A", "T", "10"),
        ("06:00", "B", "T", "11"),
        ("07:00", "A", "W", "3"),
        ("06:00", "A", "W", "2"),
        ("07:00", "B", "T", ""),
    )
    assert rows(decoded) == [(SIX, "B", None, 11.0), (SEVEN, "A", 3.0, None), (SIX, "A", 2.0, 10.0)]
    assert (decoded.refused.num_rows, decoded.notes) == (0, ())


def test_rows_of_other_variables_are_left_out_and_counted(product: Product, locations: Locations) -> None:
    cells = [("06:00", "A", name, "x") for name in ("P", "Q", "P", "R", "S", "U", "V")]
    decoded = decode(product, locations, ("06:00", "A", "W", "2"), *cells)
    assert rows(decoded) == [(SIX, "A", 2.0, None)]
    assert decoded.refused.num_rows == 0
    note = "7 rows of other variables were left out: P (2), Q (1), R (1), S (1), U (1) and 1 more"
    assert decoded.notes == (note,)


def test_a_renamed_variable_is_told_when_none_is_left(product: Product, locations: Locations) -> None:
    with pytest.raises(
        ContractError, match=r"no row has variable W or T; did you mean 'Tx'\? column 'variable' has Tx, P"
    ):
        decode(product, locations, ("06:00", "A", "Tx", "2"), ("06:00", "A", "P", "2"))


def test_a_cell_that_cannot_be_read_refuses_itself_alone(product: Product, locations: Locations) -> None:
    decoded = decode(
        product,
        locations,
        ("06:00", "A", "T", "warm"),
        ("06:00", "A", "W", "2"),
        (None, "A", "W", "3"),
        ("06:00", None, None, "4"),
    )
    assert rows(decoded) == [(SIX, "A", 2.0, None)]
    refused = decoded.refused.to_pylist()
    assert [(row["valid_time"], row["location"], row["reason"]) for row in refused] == [
        (SIX, "A", "air_temperature: 'warm' is not a number"),
        (None, "A", "time: the time stamp is missing"),
        (SIX, None, "variable: the name of the variable is missing"),
    ]
    assert json.loads(refused[0]["values"]) == {
        "time": "2020-01-01 06:00",
        "location": "A",
        "variable": "T",
        "value": "warm",
    }


def test_the_last_of_differing_cells_joins_the_last_of_the_others(product: Product, locations: Locations) -> None:
    # The contract then lets the last row stand and refuses the earlier one
    decoded = decode(
        product,
        locations,
        ("06:00", "A", "W", "1"),
        ("06:00", "A", "T", "10"),
        ("06:00", "A", "W", "2"),
    )
    assert rows(decoded) == [(SIX, "A", 1.0, None), (SIX, "A", 2.0, 10.0)]


def test_a_cell_that_says_the_same_again_is_no_second_row(product: Product, locations: Locations) -> None:
    decoded = decode(product, locations, *[("06:00", "A", "W", "1")] * 3, ("06:00", "A", "T", "10"))
    assert rows(decoded) == [(SIX, "A", 1.0, 10.0)]


def test_each_variable_of_a_station_has_its_own_doubled_hour(make_product: MakeProduct, locations: Locations) -> None:
    product = make_product(layout="tidy", variables=PAIR, time={"zone": "Europe/Dublin"})
    names = {"time": ["2024-10-27 01:00"] * 4, "location": ["A"] * 4, "variable": ["W", "T", "W", "T"]}
    table = pa.table(names | {"value": [1.0, 10.0, 2.0, 20.0]})
    decoded = decode_table(table, product.feed, files_source(product.feed), locations)
    first, second = (datetime(2024, 10, 27, hour, tzinfo=UTC) for hour in (0, 1))
    assert rows(decoded) == [(first, "A", 1.0, 10.0), (second, "A", 2.0, 20.0)]
    assert decoded.notes == ()


def test_a_header_alone_has_no_rows(product: Product, locations: Locations) -> None:
    table = pa.table({name: pa.array([], pa.string()) for name in ("time", "location", "variable", "value")})
    decoded = decode_table(table, product.feed, files_source(product.feed), locations)
    assert (decoded.rows.num_rows, decoded.refused.num_rows, decoded.notes) == (0, 0, ())


CELLS = st.tuples(
    st.sampled_from(["06:00", "07:00"]), st.sampled_from("AB"), st.sampled_from("WT"), st.sampled_from(["1", "2", ""])
)


@given(st.lists(CELLS, min_size=1, max_size=14))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_last_row_of_a_key_has_the_last_value_of_each_variable(
    product: Product, locations: Locations, cells: list[tuple[str, str, str, str]]
) -> None:
    decoded = decode(product, locations, *cells)
    last: dict[tuple[object, str], dict[str, float]] = {}
    distinct = set()
    for hour, location, variable, value in cells:
        if value:
            key = ({"06:00": SIX, "07:00": SEVEN}[hour], location)
            last.setdefault(key, {})[variable] = float(value)
            distinct.add((*key, variable, value))
    standing = {(time, location): (wind, warm) for time, location, wind, warm in rows(decoded)}  # later rows win
    assert standing == {key: (value.get("W"), value.get("T")) for key, value in last.items()}
    told = sum(value is not None for _, _, *values in rows(decoded) for value in values)
    assert told == len(distinct)
