import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from expectations.reasons import Reason
from pipeline.config import TimeStamps
from pipeline.errors import ContractError
from pipeline.ingest.decoding.timestamps import ValidTimes, read_valid_times

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read(cells: list[Any] | pa.Array, step: timedelta = HOUR, **spec: Any) -> ValidTimes:
    table = pa.table({"time": cells if isinstance(cells, pa.Array) else pa.array(cells)})
    return read_valid_times(table, TimeStamps.model_validate_json(json.dumps(spec)), step)


def utc(*texts: str) -> list[np.datetime64]:
    return [np.datetime64(text, "us") for text in texts]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1978-12-14", "1978-12-14T00:00"),
        ("1978-12-14 06:00", "1978-12-14T06:00"),
        (" 1978-12-14T06:00:30.25 ", "1978-12-14T06:00:30.25"),
        ("1978-12-14T06:00Z", "1978-12-14T06:00"),
        ("1978-12-14T06:00+02:00", "1978-12-14T04:00"),
        ("1978-12-14 06:00:00.000000000-0330", "1978-12-14T09:30"),
    ],
)
def test_iso_stamps_with_and_without_offset(text: str, expected: str) -> None:
    stamps = read([text])
    assert list(stamps.valid_time) == utc(expected)
    assert stamps.reasons == {}


@pytest.mark.parametrize("text", ["14/12/1978", "1978", "1978-02-30", "1978-12-14 25:00", "soon", "20:00"])
def test_what_is_no_stamp_is_refused_with_its_text(text: str) -> None:
    stamps = read(["1978-12-14", text])
    assert np.isnat(stamps.valid_time).tolist() == [False, True]
    assert stamps.reasons == {1: Reason("invalid_time", "time", text)}


@pytest.mark.parametrize("cell", [None, "", "  "])
def test_a_missing_stamp_is_refused(cell: str | None) -> None:
    assert read(["1978-12-14", cell]).reasons == {1: Reason("missing_time", "time")}


@pytest.mark.parametrize("text", ["0001-01-01", "9999-12-31"])
def test_years_that_tools_cannot_hold_are_refused(text: str) -> None:
    stamps = read([text])
    assert np.isnat(stamps.valid_time).all()
    assert stamps.reasons == {0: Reason("time_out_of_range", value=text)}


def test_a_label_at_the_start_becomes_the_end_of_its_period() -> None:
    assert list(read(["2020-01-01 00:00"], label="start").valid_time) == utc("2020-01-01T01:00")
    assert list(read(["2020-01-01"], DAY, label="start").valid_time) == utc("2020-01-02")
    assert list(read(["2020-01-01T00:00+01:00"], label="start").valid_time) == utc("2020-01-01T00:00")


def test_a_local_day_ends_at_local_midnight_even_when_it_has_23_or_25_hours() -> None:
    # Dublin: summer time from 2024-03-31 01:00 UTC to 2024-10-27 01:00 UTC.
    days = ["2024-03-30", "2024-03-31", "2024-10-26", "2024-10-27"]
    stamps = read(days, DAY, label="start", zone="Europe/Dublin")
    ends = utc("2024-03-31T00:00", "2024-03-31T23:00", "2024-10-26T23:00", "2024-10-28T00:00")
    assert list(stamps.valid_time) == ends


@pytest.mark.parametrize(
    ("zone", "skipped"),
    [  # Both switches in three zones, one with a half hour; Dublin counts its winter as the exception
        ("Europe/Dublin", "2024-03-31 01:30"),
        ("America/New_York", "2024-03-10 02:30"),
        ("Australia/Lord_Howe", "2024-10-06 02:15"),
    ],
)
def test_a_time_that_spring_skips_is_refused(zone: str, skipped: str) -> None:
    stamps = read([skipped, "2024-06-01 12:00"], timedelta(minutes=15), zone=zone)
    assert np.isnat(stamps.valid_time).tolist() == [True, False]
    assert stamps.reasons == {0: Reason("nonexistent_time", value=skipped, expected=zone)}


AUTUMN = [
    ("Europe/Dublin", "2024-10-27 01:30", "2024-10-27T00:30", "2024-10-27T01:30"),
    ("America/New_York", "2024-11-03 01:30", "2024-11-03T05:30", "2024-11-03T06:30"),
    # At 02:00, eleven hours ahead of UTC, clocks go back by half an hour.
    ("Australia/Lord_Howe", "2024-04-07 01:45", "2024-04-06T14:45", "2024-04-06T15:15"),
]


@pytest.mark.parametrize(("zone", "doubled", "first", "second"), AUTUMN)
def test_a_doubled_time_that_stands_twice_is_the_first_and_then_the_second(
    zone: str, doubled: str, first: str, second: str
) -> None:
    stamps = read([doubled, doubled], timedelta(minutes=15), zone=zone)
    assert list(stamps.valid_time) == utc(first, second)
    assert stamps.notes == ()


@pytest.mark.parametrize(("zone", "doubled", "first", "second"), AUTUMN)
@pytest.mark.parametrize("count", [1, 3])
def test_a_doubled_time_that_stands_once_or_thrice_is_the_first_and_noted(
    zone: str, doubled: str, first: str, second: str, count: int
) -> None:
    stamps = read([doubled] * count, timedelta(minutes=15), zone=zone)
    assert list(stamps.valid_time) == utc(first) * count
    rows = {1: "1 row has an ambiguous time", 3: "3 rows have ambiguous times"}[count]
    assert stamps.notes == (
        f"{rows}: clocks in {zone} went back, and the order of rows does not resolve it, "
        f"e.g. {doubled}, read as the first",
    )


def test_each_series_resolves_its_own_doubled_hour() -> None:
    table = pa.table({"time": ["2024-10-27 01:00"] * 4 + ["2024-10-27 02:00"]})
    spec = TimeStamps(zone="Europe/Dublin")
    stamps = read_valid_times(table, spec, HOUR, groups=np.array([0, 1, 0, 1, 2]))
    one, two = utc("2024-10-27T00:00", "2024-10-27T01:00")
    assert list(stamps.valid_time) == [one, one, two, two, np.datetime64("2024-10-27T02:00", "us")]
    assert stamps.notes == ()


def test_the_time_grid_tells_where_only_one_of_two_instants_is_on_it() -> None:
    # 01:30 on Lord Howe is 14:30 or 15:00 UTC; a feed of whole hours has only the latter.
    assert list(read(["2024-04-07 01:30"], zone="Australia/Lord_Howe").valid_time) == utc("2024-04-06T15:00")
    # One of every three hours: 01:00 in Dublin is 00:00 or 01:00 UTC; labelled at its start it ends at 03:00 UTC.
    three = timedelta(hours=3)
    assert list(read(["2024-10-27 01:00"], three, zone="Europe/Dublin").valid_time) == utc("2024-10-27T00:00")
    assert read(["2024-10-27 01:00"], three, zone="Europe/Dublin").notes == ()
    assert list(read(["2024-10-27 01:00"], three, zone="Europe/Dublin", label="start").valid_time) == utc(
        "2024-10-27T03:00"
    )


def test_a_labelled_day_that_autumn_makes_begin_twice_begins_with_the_first_and_is_not_noted() -> None:
    # In Havana clocks go back from 01:00 to 00:00, so 3 November 2024 begins at 04:00 UTC and has 25 hours.
    stamps = read(["2024-11-02", "2024-11-03"], DAY, zone="America/Havana", label="start")
    assert list(stamps.valid_time) == utc("2024-11-03T04:00", "2024-11-04T05:00")
    assert stamps.notes == ()


ZONES = sorted(available_timezones())
STEPS = [timedelta(minutes=30), HOUR, 3 * HOUR]


@settings(max_examples=40, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    start=st.integers(1850 * 365, 2100 * 365).map(lambda day: datetime(1, 1, 1, 12, tzinfo=UTC) + day * DAY),
    step=st.sampled_from(STEPS),
    days=st.integers(1, 60),
    falling=st.booleans(),
)
@example("Europe/Dublin", datetime(2024, 9, 30, 12, tzinfo=UTC), HOUR, 60, True)
@example("Australia/Lord_Howe", datetime(2024, 3, 10, 12, tzinfo=UTC), HOUR, 60, False)
@example("America/Juneau", datetime(1867, 10, 1, 12, tzinfo=UTC), HOUR, 60, False)  # had one day twice
def test_a_regular_series_survives_local_clock_times_of_any_zone(
    zone: str, start: datetime, step: timedelta, days: int, falling: bool
) -> None:
    # Nothing tells where a series that begins or ends within a doubled period is; those are left out.
    instants = [start + number * step for number in range(days * DAY // step)]
    clock = ZoneInfo(zone)
    for end in (instants[0], instants[-1]):
        local = end.astimezone(clock).replace(tzinfo=None)
        assume(local.replace(tzinfo=clock).utcoffset() == local.replace(tzinfo=clock, fold=1).utcoffset())
    instants = instants[::-1] if falling else instants
    cells = [instant.astimezone(clock).replace(tzinfo=None).isoformat(" ") for instant in instants]
    stamps = read(cells, step, zone=zone)
    assert stamps.reasons == {}
    assert list(stamps.valid_time) == [np.datetime64(instant.replace(tzinfo=None), "us") for instant in instants]


def test_an_explicit_offset_tells_the_doubled_hours_apart() -> None:
    cells = ["2024-10-27T01:30+01:00", "2024-10-27T01:30+00:00"]
    expected = utc("2024-10-27T00:30", "2024-10-27T01:30")
    assert list(read(cells, zone="Europe/Dublin").valid_time) == expected


def read_pair(date: list[Any], hour: list[Any], **spec: Any) -> ValidTimes:
    table = pa.table({"date": date, "hour": hour})
    fields = {"columns": ["date", "hour"]} | spec
    return read_valid_times(table, TimeStamps.model_validate_json(json.dumps(fields)), HOUR)


def test_a_date_column_and_an_hour_column_make_one_stamp() -> None:
    stamps = read_pair(["2019-01-01"] * 4, ["6:00-6:59", "06", " 23:30 ", "0:00-0:59"])
    expected = utc("2019-01-01T06:00", "2019-01-01T06:00", "2019-01-01T23:30", "2019-01-01T00:00")
    assert list(stamps.valid_time) == expected
    assert list(read_pair(["2019-01-01"], [6]).valid_time) == utc("2019-01-01T06:00")


@pytest.mark.parametrize("hour", ["24", "-1", "6:75", "noon", "123"])
def test_what_is_no_hour_is_refused(hour: str) -> None:
    assert read_pair(["2019-01-01"], [hour]).reasons == {
        0: Reason("invalid_time", "date and hour", f"2019-01-01 {hour}")
    }


def test_a_day_with_a_clock_time_of_its_own_is_refused_beside_an_hour_column() -> None:
    assert 0 in read_pair(["2019-01-01 03:00"], ["6"]).reasons


def test_hours_before_the_start_of_a_service_day_belong_to_the_next_calendar_day() -> None:
    hours = ["6:00-6:59", "23:00-23:59", "0:00-0:59", "5:00-5:59"]
    stamps = read_pair(["2019-12-31"] * 4, hours, day_starts="6h")
    expected = utc("2019-12-31T06:00", "2019-12-31T23:00", "2020-01-01T00:00", "2020-01-01T05:00")
    assert list(stamps.valid_time) == expected


def test_typed_columns_are_read_as_what_they_are() -> None:
    instant = datetime(2024, 7, 1, 12)  # noqa: DTZ001 - a typed column without zone
    naive = pa.array([instant, None], pa.timestamp("ms"))
    aware = pa.array([instant], pa.timestamp("ns", tz="Europe/Dublin"))  # Arrow keeps the UTC instant
    assert list(read(naive, zone="Europe/Dublin").valid_time[:1]) == utc("2024-07-01T11:00")
    assert read(naive).reasons == {1: Reason("missing_time", "time")}
    assert list(read(aware, zone="Asia/Tokyo").valid_time) == utc("2024-07-01T12:00")
    assert list(read(pa.array([instant.date()])).valid_time) == utc("2024-07-01")


def test_a_column_of_numbers_is_no_time() -> None:
    with pytest.raises(ContractError, match="column 'time' holds int64, not time stamps"):
        read([2019, 2020])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=25), min_size=1, max_size=20))
def test_any_text_is_a_time_or_has_a_reason(cells: list[str]) -> None:
    stamps = read(pa.array(cells, pa.string()), zone="Pacific/Auckland")
    assert set(np.flatnonzero(np.isnat(stamps.valid_time)).tolist()) == set(stamps.reasons)


@settings(max_examples=50, deadline=None)
@given(st.integers(-(10**15), 2 * 10**15).map(lambda us: EPOCH + timedelta(microseconds=us)))
def test_an_instant_written_with_its_offset_survives_any_zone(instant: datetime) -> None:
    stamps = read([instant.isoformat()], zone="Pacific/Auckland")
    assert list(stamps.valid_time) == [np.datetime64(instant.replace(tzinfo=None), "us")]
