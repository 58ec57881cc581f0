import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expectations.reasons import Reason
from pipeline.config import TimeStamps
from pipeline.errors import ContractError
from pipeline.ingest.decoding.timestamp_parsing import ParsedTimes, parse_times
from pipeline.ingest.decoding.timestamps import read_valid_times

HOUR = timedelta(hours=1)


def spec(**fields: Any) -> TimeStamps:
    return TimeStamps.model_validate_json(json.dumps(fields))


def read(table: dict[str, Any], **fields: Any) -> ParsedTimes:
    return parse_times(pa.table(table), spec(**fields))


def texts(times: np.ndarray) -> list[str | None]:
    return [None if np.isnat(one) else str(one)[:16] for one in times]


def ymdh(**fields: Any) -> dict[str, Any]:
    return {"year": ["2013"], "month": ["11"], "day": ["3"], "hour": ["1"]} | {n: [c] for n, c in fields.items()}


def test_columns_of_numbers_make_a_stamp_as_text_or_typed() -> None:
    columns = {"columns": ["year", "month", "day", "hour"]}
    assert texts(read(ymdh(), **columns).local) == ["2013-11-03T01:00"]
    assert texts(read(ymdh(month=" 02 ", day="28.0"), **columns).local) == ["2013-02-28T01:00"]
    typed = {
        "year": pa.array([2013], pa.int16()),
        "month": pa.array([11.0]),
        "day": pa.array([Decimal("3")]),
        "hour": pa.array(["23"]).dictionary_encode(),
    }
    assert texts(read(typed, **columns).local) == ["2013-11-03T23:00"]


def test_year_month_day_alone_are_a_day_and_a_fifth_column_has_minutes() -> None:
    assert texts(read(ymdh(), columns=["year", "month", "day"]).local) == ["2013-11-03T00:00"]
    five = ["year", "month", "day", "hour", "minute"]
    assert texts(read(ymdh(minute="50"), columns=five).local) == ["2013-11-03T01:50"]


@pytest.mark.parametrize(
    "cells",
    [
        {"month": "13"},
        {"month": "0"},
        {"month": "2", "day": "29"},
        {"day": "31"},
        {"day": "0"},
        {"day": "1.5"},
        {"hour": "24"},
        {"hour": "-1"},
        {"hour": ""},
        {"year": "MMXIII"},
        {"year": "0"},
        {"year": "20130"},
        {"year": "1e300"},
    ],
)
def test_columns_that_make_no_stamp_are_refused_with_their_cells(cells: dict[str, str]) -> None:
    table = pa.table(ymdh(**cells))
    stamps = read_valid_times(table, spec(columns=["year", "month", "day", "hour"]), HOUR)
    assert np.isnat(stamps.valid_time).all()
    given = " ".join(cell for (cell,) in table.to_pydict().values() if cell)
    assert stamps.reasons == {0: Reason("invalid_time", "year, month, day and hour", given)}


@settings(max_examples=50, deadline=None)
@given(
    st.integers(-141_912_000, 153_600_000).map(lambda minutes: datetime(1970, 1, 1, tzinfo=UTC) + minutes * HOUR / 60)
)
def test_every_minute_survives_columns_of_numbers(stamp: datetime) -> None:
    fields = ["year", "month", "day", "hour", "minute"]
    clock = read({name: [getattr(stamp, name)] for name in fields}, columns=fields)
    assert list(clock.local) == [np.datetime64(stamp.replace(tzinfo=None), "us")]


def test_hours_named_by_their_end_are_given_by_their_start() -> None:
    table = {"date": ["2020-12-31"] * 4, "hour": ["1", "24", "0", "25"]}
    clock = read(table, columns=["date", "hour"], hours="1-24")
    assert texts(clock.local) == ["2020-12-31T00:00", "2020-12-31T23:00", None, None]
    four = read(ymdh(hour="24"), columns=["year", "month", "day", "hour"], hours="1-24")
    assert texts(four.local) == ["2013-11-03T23:00"]


def test_hours_named_by_their_end_become_that_end_in_winter_and_across_both_switches() -> None:
    # New York: hour 3 does not exist on 10 March 2024; hour 2 comes twice on 3 November, ending at 06:00 and 07:00 UTC.
    table = pa.table({"date": ["2024-03-10"] * 3 + ["2024-11-03"] * 4, "hour": [2, 3, 4, 1, 2, 2, 24]})
    stamps = read_valid_times(table, spec(columns=["date", "hour"], hours="1-24", zone="America/New_York"), HOUR)
    assert texts(stamps.valid_time) == [
        "2024-03-10T07:00",
        None,
        "2024-03-10T08:00",
        "2024-11-03T05:00",
        "2024-11-03T06:00",
        "2024-11-03T07:00",
        "2024-11-04T05:00",
    ]
    assert stamps.reasons == {1: Reason("nonexistent_time", value="2024-03-10 02:00", expected="America/New_York")}


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        ("%d/%m/%Y %H:%M", " 3/11/2013 01:30 ", "2013-11-03T01:30"),
        ("%m/%d/%y", "11/03/13", "2013-11-03T00:00"),
        ("%Y%m%d%H", "2013110301", "2013-11-03T01:00"),
        ("%Y-%j", "2013-307", "2013-11-03T00:00"),
        ("%d %b %Y %I:%M %p", "03 Nov 2013 01:30 PM", "2013-11-03T13:30"),
        ("%Y-%m-%dT%H:%M:%S.%f", "2013-11-03T01:30:00.25", "2013-11-03T01:30"),
    ],
)
def test_a_format_of_strptime_is_read(form: str, text: str, expected: str) -> None:
    clock = read({"time": [text, None]}, format=form)
    assert texts(clock.local) == [expected, None]
    assert texts(clock.instants) == [None, None]


@pytest.mark.parametrize(
    "text", ["2013-11-03", "31/02/2013 01:00", "03/11/2013 24:00", "03/11/2013 01:00 x", "3/11/2013"]
)
def test_what_does_not_fit_the_format_is_refused_and_names_it(text: str) -> None:
    table = pa.table({"time": ["03/11/2013 01:00", text]})
    stamps = read_valid_times(table, spec(format="%d/%m/%Y %H:%M"), HOUR)
    assert texts(stamps.valid_time) == ["2013-11-03T01:00", None]
    assert stamps.reasons == {1: Reason("invalid_time", "time", text, expected="%d/%m/%Y %H:%M")}


def test_a_format_with_an_offset_gives_instants() -> None:
    cells = ["03.11.2013 01:30 +0100", "03.11.2013 01:30 Z"]
    clock = read({"time": cells}, format="%d.%m.%Y %H:%M %z", zone="Asia/Tokyo")
    assert texts(clock.instants) == ["2013-11-03T00:30", "2013-11-03T01:30"]
    assert texts(clock.local) == [None, None]


def test_a_format_reads_numbers_and_several_columns() -> None:
    assert texts(read({"time": [20131103, 20130229]}, format="%Y%m%d").local) == ["2013-11-03T00:00", None]
    clock = read({"d": ["3.11.2013"], "t": ["0130"]}, columns=["d", "t"], format="%d.%m.%Y %H%M")
    assert texts(clock.local) == ["2013-11-03T01:30"]


def test_seconds_since_1970_are_instants() -> None:
    # date -u -d @1383442200: Sun Nov  3 01:30:00 UTC 2013
    expected = ["2013-11-03T01:30", None]
    for cells in ([1383442200, None], ["1383442200", "soon"], [1383442200.0, 1e18]):
        assert texts(read({"time": cells}, format="%s", zone="Asia/Tokyo").instants) == expected
    assert read({"time": ["-0.25"]}, format="%s").instants[0] == np.datetime64("1969-12-31T23:59:59.75", "us")


def test_typed_dates_times_and_dictionaries_are_read_as_what_they_are() -> None:
    table = {"d": pa.array([date(2013, 11, 3)]), "t": pa.array([time(1, 30)])}
    assert texts(read(table, columns=["d", "t"]).local) == ["2013-11-03T01:30"]
    instant = pa.array([datetime(2013, 11, 3, 1, tzinfo=UTC)], pa.timestamp("ms", tz="Asia/Tokyo"))
    assert texts(read({"time": instant.dictionary_encode()}).instants) == ["2013-11-03T01:00"]
    text = pa.array(["2013-11-03", None, "x"], pa.large_string()).dictionary_encode()
    assert texts(read({"time": text}).local) == ["2013-11-03T00:00", None, None]
    assert texts(read({"time": pa.array(["2013-11-03T01:00Z"], pa.string_view())}).instants) == ["2013-11-03T01:00"]


@pytest.mark.parametrize("more", ["", "soon", "2020-01-01T00:00Z", "2020-02-30", "2020-01-01 00:00:00.123456789"])
@pytest.mark.parametrize("offset", ["", "Z", "+01:00"])
def test_a_stamp_is_read_alike_whatever_stands_beside_it(more: str, offset: str) -> None:
    alone = read({"time": [f"2013-11-03T01:30{offset}"]})
    beside = read({"time": [f"2013-11-03T01:30{offset}", more]})
    assert texts(beside.local)[:1] == texts(alone.local)
    assert texts(beside.instants)[:1] == texts(alone.instants)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pa.array([1]), "column 'time' holds int64, not time stamps; write e.g. 1978-12-14T06:00Z, or name its format"),
        (pa.array([[1]]), "column 'time' holds list<item: int64>, not time stamps"),
        (pa.array([True]), "column 'time' holds bool, not time stamps"),
    ],
)
def test_a_column_that_is_no_time_breaks_the_contract(column: pa.Array, words: str) -> None:
    with pytest.raises(ContractError, match=words.replace("[", r"\[")):
        read({"time": column})


def test_an_hour_column_that_has_none_breaks_the_contract() -> None:
    with pytest.raises(ContractError, match="column 'hour' holds bool, not hours"):
        read({"date": ["2020-01-01"], "hour": [True]}, columns=["date", "hour"])
