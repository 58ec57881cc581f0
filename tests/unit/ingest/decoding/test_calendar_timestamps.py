"""Valid times of calendar steps: every time stamp within a step means it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expectations.reasons import Reason
from models.steps import CalendarStep
from pipeline.config import TimeStamps
from pipeline.ingest.decoding.resample import select_rows
from pipeline.ingest.decoding.timestamps import ValidTimes, read_valid_times

DUBLIN = "day in Europe/Dublin"


def read(step: str, cells: Any, label: str = "start", **spec: Any) -> ValidTimes:
    columns = spec.pop("table", {"time": cells})
    form = {"columns": list(columns), "label": label, "zone": CalendarStep.parse(step).zone, **spec}
    table = pa.table({name: pa.array(column) for name, column in columns.items()})
    return read_valid_times(table, TimeStamps.model_validate_json(json.dumps(form)), CalendarStep.parse(step))


def utc(*texts: str) -> list[np.datetime64]:
    return [np.datetime64(text, "us") for text in texts]


@pytest.mark.parametrize(
    ("step", "cell", "end"),
    [
        *(("month", cell, "2024-02-01") for cell in ("2024-01-01", "2024-01-15", "2024-01-31", "2024-01-31T23:59Z")),
        ("month", "2024-01", "2024-02-01"),
        ("month", " 2024-12 ", "2025-01-01"),
        ("month", "2024-02-01", "2024-03-01"),
        ("quarter", "2024-Q1", "2024-04-01"),
        ("quarter", "2024q4", "2025-01-01"),
        ("quarter", "2024-05", "2024-07-01"),
        ("week", "2024-01-01", "2024-01-08"),
        ("week", "2024-01-07", "2024-01-08"),
        (DUBLIN, "2024-03-31", "2024-03-31T23:00"),  # 23 hours
        (DUBLIN, "2024-03-31 01:30", "2024-03-31T23:00"),  # a time that no clock showed, on a day that was
        (DUBLIN, "2024-10-27", "2024-10-28"),  # 25 hours
        (DUBLIN, "2024-06-14T23:30Z", "2024-06-15T23:00"),
        ("month in Europe/Dublin", "2024-05-31T23:30Z", "2024-06-30T23:00"),
        ("day in America/Sao_Paulo", "2018-11-04", "2018-11-05T02:00"),  # a day without a midnight
    ],
)
def test_every_time_stamp_within_a_step_means_it(step: str, cell: str, end: str) -> None:
    stamps = read(step, [cell])
    assert list(stamps.valid_time) == utc(end)
    assert (stamps.reasons, stamps.notes) == ({}, ())


@pytest.mark.parametrize(
    ("cell", "end"),
    [("2024-02-01", "2024-02-01"), ("2024-02-01 00:01", "2024-03-01"), ("2024-01-31", "2024-02-01")],
)
def test_with_label_end_the_boundary_belongs_to_the_step_before(cell: str, end: str) -> None:
    assert list(read("month", [cell], "end").valid_time) == utc(end)
    assert list(read("month", [cell.replace(" ", "T") + ("Z" if ":" in cell else "T00:00Z")], "end").valid_time) == utc(
        end
    )


def test_time_stamps_of_another_zone_are_instants() -> None:
    cells = ["2024-06-14T23:00", "2024-06-15T22:59"]
    assert list(read(DUBLIN, cells, zone="UTC").valid_time) == utc("2024-06-15T23:00", "2024-06-15T23:00")


@pytest.mark.parametrize("form", [int, float, str])
def test_year_and_month_in_columns_of_their_own(form: type) -> None:
    stamps = read("month", [], table={"year": [form(2024), form(2024)], "month": [form(1), form(12)]})
    assert list(stamps.valid_time) == utc("2024-02-01", "2025-01-01")


def test_a_format_of_months() -> None:
    assert list(read("month", ["03/2024"], format="%m/%Y").valid_time) == utc("2024-04-01")


@pytest.mark.parametrize("step", ["month", DUBLIN])
@pytest.mark.parametrize("cell", ["0001-01-01", "9999-12-31", "1699-12-30"])
def test_years_that_tools_cannot_hold_are_refused(step: str, cell: str) -> None:
    stamps = read(step, ["2024-01-15", cell])
    assert np.isnat(stamps.valid_time).tolist() == [False, True]
    assert stamps.reasons == {1: Reason("time_out_of_range", value=cell)}


@pytest.mark.parametrize("cell", ["soon", "2024-13", "2024-02-30", None])
def test_what_is_no_stamp_is_refused(cell: str | None) -> None:
    stamps = read("month", ["2024-01", cell])
    assert np.isnat(stamps.valid_time).tolist() == [False, True]
    assert set(stamps.reasons) == {1}


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(["month", "week", DUBLIN, "month in America/New_York"]),
    st.lists(st.integers(0, 2**31), min_size=1, max_size=30),
)
def test_instants_are_in_the_step_that_ends_at_their_valid_time(text: str, seconds: list[int]) -> None:
    step = CalendarStep.parse(text)
    times = np.array(seconds, "datetime64[s]").astype("datetime64[us]")
    ends = read(text, pa.array(times, pa.timestamp("us", tz="UTC"))).valid_time
    numbers = step.numbers(ends)
    assert (step.starts(numbers) == ends).all()
    assert ((step.starts(numbers - 1) <= times) & (times < ends)).all()


def test_irregular_times_are_resampled_to_the_end_of_their_month() -> None:
    times = np.array(["2024-01-05", "2024-01-28", "2024-02-01", "2024-02-10"], "datetime64[us]")
    assert list(read("month", [str(time) for time in times], "end", resample="5d").valid_time) == list(times)
    kept, points = select_rows(times, np.zeros(4, np.int64), CalendarStep("month"), timedelta(days=5))
    assert kept.tolist() == [2]  # of January the last one counts; the one of February is too old by its end
    assert list(points) == utc("2024-02-01")
