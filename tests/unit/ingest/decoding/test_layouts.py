import json
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config import Product
from pipeline.errors import ConfigError, ContractError
from pipeline.ingest.decoding.layouts import decode_table
from pipeline.ingest.sources.base import REFUSED_SCHEMA, Decoded, row_schema
from pipeline.locations import Locations
from tests.unit.ingest.conftest import MakeProduct, files_source

SIX, SEVEN = (datetime(2020, 1, 1, hour, tzinfo=UTC) for hour in (6, 7))
PAIR = {
    "wind_speed": {"source_units": "knot", "limits": [0, 60]},
    "air_temperature": {"source_name": "T", "source_units": "degF"},
}


def decode(product: Product, table: pa.Table, locations: Locations) -> Decoded:
    return decode_table(table, product.feed, files_source(product.feed), locations)


def test_wide_becomes_one_row_a_cell_in_payload_order(make_product: MakeProduct, locations: Locations) -> None:
    product = make_product()
    table = pa.table({"time": ["2020-01-01 07:00", "2020-01-01 06:00"], "B": ["2", ""], "A": ["1", "3"]})
    decoded = decode(product, table, locations)
    assert decoded.rows.schema == row_schema(product.feed)
    assert decoded.rows.to_pylist() == [
        {"valid_time": SEVEN, "location": "B", "wind_speed": 2.0},
        {"valid_time": SEVEN, "location": "A", "wind_speed": 1.0},
        {"valid_time": SIX, "location": "A", "wind_speed": 3.0},
    ]
    assert decoded.refused.num_rows == 0
    assert decoded.refused.schema == REFUSED_SCHEMA


def test_units_are_converted_to_those_of_the_store(make_product: MakeProduct, locations: Locations) -> None:
    product = make_product(variables={"wind_speed": {"units": "m s-1", "source_units": "knot"}})
    rows = decode(product, pa.table({"time": ["2020-01-01"], "A": [10.0]}), locations).rows
    assert rows.column("wind_speed").to_pylist() == [pytest.approx(5.144444444, abs=1e-9)]


def test_unreadable_wide_cells_are_refused_with_what_was_given(make_product: MakeProduct, locations: Locations) -> None:
    table = pa.table({"time": ["2020-01-01 06:00", "soon"], "A": ["abc", "1e999"], "B": ["1", "2"]})
    decoded = decode(make_product(), table, locations)
    assert decoded.rows.num_rows == 1
    refused = decoded.refused.to_pylist()
    assert [(row["valid_time"], row["location"], row["reason"]) for row in refused] == [
        (SIX, "A", "wind_speed: 'abc' is not a number"),
        (None, "A", "time: 'soon' is not a time stamp; wind_speed: '1e999' is not a number"),
        (None, "B", "time: 'soon' is not a time stamp"),
    ]
    assert json.loads(refused[1]["values"]) == {"time": "soon", "A": "1e999"}


def test_wide_carries_one_variable(make_product: MakeProduct, locations: Locations) -> None:
    product = make_product(layout="wide", variables={"wind_speed": {}, "air_temperature": {}})
    with pytest.raises(ConfigError, match=r"^test: feed\.source\.layout: wide holds one variable, and .* names 2; use"):
        decode(product, pa.table({"time": ["2020-01-01"], "A": [1.0]}), locations)


def test_a_column_that_is_no_station_is_refused_loudly(make_product: MakeProduct, locations: Locations) -> None:
    table = pa.table({"time": ["2020-01-01"], "A": [1.0], "B2": [2.0]})
    with pytest.raises(ContractError, match=r"column 'B2' is not a station; did you mean 'B'\? or list it in"):
        decode(make_product(), table, locations)
    assert decode(make_product(ignore=["B2"]), table, locations).rows.num_rows == 1


def test_a_table_without_station_or_time_column_is_refused(make_product: MakeProduct, locations: Locations) -> None:
    with pytest.raises(ContractError, match="no column is a station; expected some of A, B, C"):
        decode(make_product(), pa.table({"time": ["2020-01-01"]}), locations)
    with pytest.raises(ContractError, match=r"no column 'time'; did you mean 'Time'\? it has Time, A"):
        decode(make_product(), pa.table({"Time": ["2020-01-01"], "A": [1.0]}), locations)


@given(order=st.permutations(["time", "A", "B", "C"]), dropped=st.sets(st.sampled_from("ABC"), max_size=2))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_new_column_order_and_lost_stations_shift_nothing(
    make_product: MakeProduct, locations: Locations, order: list[str], dropped: set[str]
) -> None:
    table = pa.table({"time": ["2020-01-01 06:00"], "A": [1.0], "B": [2.0], "C": [3.0]})
    kept = [name for name in order if name not in dropped]
    rows = decode(make_product(), table.select(kept), locations).rows.to_pylist()
    found = {row["location"]: row["wind_speed"] for row in rows}
    assert found == {name: value for name, value in zip("ABC", (1.0, 2.0, 3.0), strict=True) if name not in dropped}


def long(**columns: list[object]) -> pa.Table:
    return pa.table({"time": ["2020-01-01 06:00"] * 3, "location": [" A ", "B", "Z"]} | columns)


def test_long_reads_variables_by_source_name_and_drops_rows_without_value(
    make_product: MakeProduct, locations: Locations
) -> None:
    product = make_product(layout="long", variables=PAIR)
    table = long(wind_speed=["10", "", "NaN"], T=["50", "", "32"], extra=[1, 2, 3])
    decoded = decode(product, table, locations)
    assert decoded.rows.schema == row_schema(product.feed)
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


def test_one_unreadable_cell_refuses_the_long_row_with_all_its_values(
    make_product: MakeProduct, locations: Locations
) -> None:
    product = make_product(layout="long", variables=PAIR)
    decoded = decode(product, long(wind_speed=["10", "x", "1"], T=["50", "y", "32"]), locations)
    assert decoded.rows.column("location").to_pylist() == ["A", "Z"]
    (row,) = decoded.refused.to_pylist()
    assert (row["valid_time"], row["location"]) == (SIX, "B")
    assert row["reason"] == "wind_speed: 'x' is not a number; air_temperature: 'y' is not a number"
    expected = {"time": "2020-01-01 06:00", "location": "B", "wind_speed": "x", "T": "y"}
    assert json.loads(row["values"]) == expected


@pytest.mark.parametrize("lost", ["time", "location", "T"])
def test_a_missing_long_column_is_named(make_product: MakeProduct, locations: Locations, lost: str) -> None:
    table = long(wind_speed=["1"] * 3, T=["2"] * 3)
    table = table.rename_columns([f"{name}_" if name == lost else name for name in table.column_names])
    with pytest.raises(ContractError, match=rf"no column '{lost}'; did you mean '{lost}_'\?"):
        decode(make_product(layout="long", variables=PAIR), table, locations)


CELLS = st.sampled_from(["1", "2.5", "", "x", "inf", "nan", "-0"])
TIMES = st.sampled_from(["2020-01-01", "2024-09-29 02:30", "soon", ""])


@given(st.lists(st.tuples(TIMES, CELLS, CELLS), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_given_cell_is_a_row_or_refused(
    make_product: MakeProduct, locations: Locations, given_rows: list[tuple[str, str, str]]
) -> None:
    product = make_product(time={"zone": "Pacific/Auckland"})
    times, first, second = map(list, zip(*given_rows, strict=True))
    decoded = decode(product, pa.table({"time": times, "A": first, "B": second}), locations)
    present = sum(cell not in ("", "nan") for _, *cells in given_rows for cell in cells)
    assert decoded.rows.num_rows + decoded.refused.num_rows == present
    assert all(decoded.refused.column("reason").to_pylist())
    assert decoded.rows.column("valid_time").null_count == 0


def found(decoded: Decoded) -> list[tuple[str, str, float]]:
    rows = decoded.rows.to_pylist()
    return [(row["valid_time"].strftime("%H:%M"), row["location"], row["wind_speed"]) for row in rows]


NIGHT = ["2024-10-27 00:30", "2024-10-27 01:30", "2024-10-27 01:30", "2024-10-27 02:30"]
DUBLIN = {"zone": "Europe/Dublin"}


def test_each_row_of_a_wide_payload_has_its_place_in_the_doubled_hour(
    make_product: MakeProduct, locations: Locations
) -> None:
    # The cells of one row share its stamp, also where a station has no value in one of the two hours
    table = pa.table({"time": NIGHT, "A": ["1", "2", "3", "4"], "B": ["5", "", "6", "7"]})
    decoded = decode(make_product(step="30min", time=DUBLIN), table, locations)
    assert [row for row in found(decoded) if row[0] in ("00:30", "01:30")] == [
        ("00:30", "A", 2.0),
        ("01:30", "A", 3.0),
        ("01:30", "B", 6.0),
    ]
    assert decoded.notes == ()


def test_each_station_of_a_long_payload_has_its_own_doubled_hour(
    make_product: MakeProduct, locations: Locations
) -> None:
    table = pa.table(
        {"time": [NIGHT[1]] * 5, "location": ["A", "B", "A", "B", "C"], "wind_speed": ["1", "2", "3", "", "5"]}
    )
    decoded = decode(make_product(layout="long", step="30min", time=DUBLIN), table, locations)
    assert found(decoded) == [("00:30", "A", 1.0), ("00:30", "B", 2.0), ("01:30", "A", 3.0), ("00:30", "C", 5.0)]
    (note,) = decoded.notes
    assert note.startswith("1 row has an ambiguous time: clocks in Europe/Dublin went back")


def test_gathering_a_long_payload_takes_the_last_row_with_a_value(
    make_product: MakeProduct, locations: Locations
) -> None:
    product = make_product(layout="long", time={"resample": "20min"}, variables=PAIR)
    table = pa.table(
        {
            "time": ["2020-01-01 05:" + minute for minute in ("30", "45", "53", "55", "58", "50")],
            "location": ["A", "A", "A", "A", "A", "B"],
            "wind_speed": ["1", "2", "3", "", "x", "5"],
            "T": ["50", "50", "", "", "50", "32"],
        }
    )
    decoded = decode(product, table, locations)
    rows = decoded.rows.to_pylist()
    # 05:53 stands: 05:55 says nothing, 05:58 is refused. It has no temperature, whatever 05:45 had.
    assert [(row["valid_time"], row["location"], row["air_temperature"]) for row in rows] == [
        (SIX, "A", None),
        (SIX, "B", pytest.approx(0.0, abs=1e-9)),
    ]
    assert rows[0]["wind_speed"] == pytest.approx(1.5433333)
    assert (decoded.downsampled, decoded.refused.num_rows) == (2, 1)


def test_gathering_a_wide_payload_takes_the_last_cell_of_each_station(
    make_product: MakeProduct, locations: Locations
) -> None:
    table = pa.table(
        {"time": ["2020-01-01 05:50", "2020-01-01 06:00", "2020-01-01 06:01"], "A": [1, 2, 3], "B": [4, None, 5]}
    )
    decoded = decode(make_product(time={"resample": "10min"}), table, locations)
    assert found(decoded) == [("06:00", "B", 4.0), ("06:00", "A", 2.0)]
    assert decoded.downsampled == 3


def test_without_gathering_stamps_stay_as_they_are(make_product: MakeProduct, locations: Locations) -> None:
    decoded = decode(make_product(), pa.table({"time": ["2020-01-01 05:53"], "A": [1.0]}), locations)
    assert (found(decoded), decoded.downsampled) == ([("05:53", "A", 1.0)], 0)


@pytest.mark.parametrize("layout", ["long", "tidy"])
def test_a_single_station_needs_no_location_column(
    make_product: MakeProduct, locations: Locations, layout: str
) -> None:
    product = make_product(layout=layout, location=None)
    value = "wind_speed" if layout == "long" else "value"
    table = pa.table({"time": ["2020-01-01 06:00"], "variable": ["wind_speed"], value: [1.0]})
    one = Locations(("mast",), ("Mast",), (0.0,), (0.0,))
    assert found(decode(product, table, one)) == [("06:00", "mast", 1.0)]
    with pytest.raises(
        ConfigError, match=r"test: feed\.source\.location: null needs a feed with one station, .* has 3"
    ):
        decode(product, table, locations)


def test_ids_are_the_same_as_numbers_text_or_dictionary(make_product: MakeProduct, locations: Locations) -> None:
    product = make_product(layout="long")
    for ids in (
        pa.array([72503, None]),
        pa.array([72503.0, None]),
        pa.array([" 72503 ", ""]),
        pa.array(["72503", None], pa.large_string()).dictionary_encode(),
    ):
        table = pa.table({"time": ["2020-01-01 06:00"] * 2, "location": ids, "wind_speed": [1.0, 2.0]})
        assert decode(product, table, locations).rows.column("location").to_pylist() == ["72503", None]


def test_the_decimal_comma_of_the_product_is_read(make_product: MakeProduct, locations: Locations) -> None:
    product = make_product(csv={"delimiter": ";", "decimal": ","}, missing=["", "-99,9"])
    table = pa.table({"time": ["2020-01-01 06:00"] * 3, "A": ["1,5", "-99,90", "1.5"]})
    decoded = decode(product, table, locations)
    assert found(decoded) == [("06:00", "A", 1.5)]
    assert decoded.refused.column("reason").to_pylist() == ["wind_speed: '1.5' is not a number"]


def test_a_nested_column_is_refused_where_it_is_needed(make_product: MakeProduct, locations: Locations) -> None:
    nested = pa.array([[1.0]])
    table = pa.table({"time": ["2020-01-01 06:00"], "location": ["A"], "wind_speed": [1.0], "extra": nested})
    product = make_product(layout="long")
    assert decode(product, table, locations).rows.num_rows == 1
    for name in ("wind_speed", "location"):
        broken = table.set_column(table.column_names.index(name), name, nested)
        with pytest.raises(ContractError, match=rf"column '{name}' holds list<item: double>, not"):
            decode(product, broken, locations)


def test_when_rows_became_known_is_kept_beside_them(make_product: MakeProduct, locations: Locations) -> None:
    known = np.array(["2020-01-01T01:00", "2020-01-01T02:00", "2020-01-01T02:00"], "datetime64[us]")
    product = make_product(layout="long", time={"resample": "20min"})
    table = pa.table(
        {
            "time": ["2020-01-01 05:45", "2020-01-01 05:50", "2020-01-01 05:55"],
            "location": ["A"] * 3,
            "wind_speed": [1, 2, 3],
        }
    )
    decoded = decode_table(table, product.feed, files_source(product.feed), locations, known=known)
    assert decoded.rows.schema == row_schema(product.feed, known=True)
    assert [(row["known_at"].hour, row["wind_speed"]) for row in decoded.rows.to_pylist()] == [(1, 1.0), (2, 3.0)]
    assert decoded.downsampled == 1


@pytest.mark.parametrize("layout", ["wide", "long", "tidy"])
def test_a_covariate_must_say_when_it_became_known(
    make_product: MakeProduct, locations: Locations, layout: str
) -> None:
    product = make_product(layout=layout)
    feed = product.feed.within("test", "nwp", product.folder)
    table = pa.table({"time": ["2020-01-01"], "location": ["A"], "wind_speed": [1.0]})
    with pytest.raises(ConfigError, match=r"test\.nwp: source: its tables do not say when a row .*in known_at"):
        decode_table(table, feed, files_source(feed), locations)
