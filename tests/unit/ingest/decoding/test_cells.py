import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ContractError
from pipeline.ingest.decoding.cells import as_json, encode, read_numbers, read_texts

MISSING = ("", "NA", "M", "-9999")


def numbers(cells: list[object] | pa.Array) -> tuple[list[float | None], list[bool]]:
    column = pa.chunked_array([cells if isinstance(cells, pa.Array) else pa.array(cells)])
    values, unreadable = read_numbers("x", column, MISSING)
    return [None if math.isnan(value) else value for value in values], unreadable.tolist()


def test_text_that_is_a_number_is_read_padded_or_signed() -> None:
    assert numbers(["1", " 2.5 ", "-3e2", "+.5", "7."]) == ([1.0, 2.5, -300.0, 0.5, 7.0], [False] * 5)


def test_missing_texts_and_nulls_are_no_value() -> None:
    assert numbers(["", " ", "NA", " M ", None, "-9999", "-9999.0", "1"]) == (
        [None] * 7 + [1.0],
        [False] * 8,
    )


@pytest.mark.parametrize("text", ["abc", "nan", "inf", "-Infinity", "1e999", "1,5", "0x10", "1_0", "1 2", "٣"])
def test_text_that_is_no_finite_number_is_unreadable(text: str) -> None:
    assert numbers(["1", text]) == ([1.0, None], [False, True])


def test_typed_numbers_keep_their_value_and_sentinels_are_missing() -> None:
    assert numbers(pa.array([1, None, -9999], pa.int16())) == ([1.0, None, None], [False] * 3)
    assert numbers(pa.array([1.5, math.nan, math.inf])) == ([1.5, None, None], [False, False, True])
    assert numbers(pa.array([Decimal("1.25")])) == ([1.25], [False])
    assert numbers(pa.nulls(2)) == ([None, None], [False, False])
    assert numbers(pa.array(["4", "x"]).dictionary_encode()) == ([4.0, None], [False, True])


def test_a_decimal_comma_is_read_and_a_point_is_not() -> None:
    column = pa.chunked_array([["1,5", " -,25", "7,", "1e-1", "1.5", "1.000,5", "1,000,5", "-99,90", "NA", None]])
    values, unreadable = read_numbers("x", column, ("NA", "-99,9"), ",")
    assert [None if math.isnan(value) else value for value in values] == [1.5, -0.25, 7.0, 0.1, *[None] * 6]
    assert np.flatnonzero(unreadable).tolist() == [4, 5, 6]


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64(), pa.float16()])
def test_a_sentinel_is_known_in_any_precision(kind: pa.DataType) -> None:
    column = pa.chunked_array([pa.array([1.0, -99.99, None], pa.float64()).cast(kind, safe=False)])
    values, unreadable = read_numbers("x", column, ("-99.99",))
    assert np.isnan(values).tolist() == [False, True, True]
    assert not unreadable.any()


def test_the_fill_value_of_netcdf_can_be_a_sentinel() -> None:
    fill = ("9.969209968386869e+36",)
    for column in (pa.array([9.969209968386869e36, 1.0], pa.float32()), pa.array(["9.969209968386869e36", "1"])):
        values, _ = read_numbers("x", pa.chunked_array([column]), fill)
        assert np.isnan(values).tolist() == [True, False]


def test_a_sentinel_that_a_column_cannot_hold_hides_nothing() -> None:
    column = pa.chunked_array([pa.array([math.inf, 1.0], pa.float32())])
    values, unreadable = read_numbers("x", column, ("9.969209968386869e+360", "1e300"))
    assert (unreadable.tolist(), values[1]) == ([True, False], 1.0)


def test_a_dictionary_of_numbers_or_text_is_read_by_its_distinct_cells() -> None:
    assert numbers(pa.array(["4", None, "x", "M", "4"]).dictionary_encode()) == (
        [4.0, None, None, None, 4.0],
        [False, False, True, False, False],
    )
    assert numbers(pa.array([4.0, None, -9999.0]).dictionary_encode()) == ([4.0, None, None], [False] * 3)


def test_distinct_cells_are_numbered_across_chunks_and_null_is_minus_one() -> None:
    for column in (
        pa.chunked_array([["b", "a"], [None, "b"]]),
        pa.chunked_array([pa.array(["b", "a"]).dictionary_encode(), pa.array([None, "b"]).dictionary_encode()]),
        pa.chunked_array([["b", "a", None, "b"]]),
    ):
        codes, distinct = encode(column)
        assert (codes.tolist(), distinct.to_pylist()) == ([0, 1, -1, 0], ["b", "a"])
    assert encode(pa.chunked_array([], pa.string()))[0].tolist() == []


def test_a_column_of_another_type_breaks_the_contract() -> None:
    with pytest.raises(ContractError, match="column 'x' holds bool, not numbers"):
        numbers([True])


def test_texts_lose_their_padding() -> None:
    assert read_texts(pa.chunked_array([[" A ", "", None]])).to_pylist() == ["A", None, None]
    assert read_texts(pa.chunked_array([[72503]])).to_pylist() == ["72503"]
    assert read_texts(pa.chunked_array([[72503.0, None, math.nan]])).to_pylist() == ["72503", None, None]
    assert read_texts(pa.chunked_array([[201301010130.0]])).to_pylist() == ["201301010130"]
    assert read_texts(pa.chunked_array([[0.5, 1.0]])).to_pylist() == ["0.5", "1"]


def test_what_has_no_text_breaks_the_contract() -> None:
    with pytest.raises(ContractError, match="column 'id' holds list<item: int64>, not text"):
        read_texts(pa.chunked_array([[[1]]]), name="id")


@given(st.floats(allow_nan=False, allow_infinity=False).filter(lambda value: value != -9999))
def test_every_finite_float_survives_its_text(value: float) -> None:
    values, _ = read_numbers("x", pa.chunked_array([[repr(value)]]), MISSING)
    assert values[0] == value


@given(st.lists(st.text(max_size=12), min_size=1))
def test_any_text_is_a_finite_number_missing_or_unreadable(cells: list[str]) -> None:
    values, unreadable = read_numbers("x", pa.chunked_array([pa.array(cells, pa.string())]), MISSING)
    assert len(values) == len(cells)
    assert np.isnan(values[unreadable]).all()
    assert not np.isinf(values).any()


def test_json_of_cells_is_strict() -> None:
    cells = {
        "a": math.nan,
        "b": -math.inf,
        "c": datetime(2020, 1, 1, tzinfo=UTC),
        "d": date(2020, 1, 1),
        "e": None,
        "f": 1.5,
        "g": b"\x00",
    }

    def refuse(token: str) -> None:
        raise AssertionError(token)

    read = json.loads(as_json(cells), parse_constant=refuse)
    assert read == {
        "a": "nan",
        "b": "-inf",
        "c": "2020-01-01T00:00:00+00:00",
        "d": "2020-01-01",
        "e": None,
        "f": 1.5,
        "g": "b'\\x00'",
    }
