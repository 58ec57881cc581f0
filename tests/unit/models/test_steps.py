"""Calendar steps: by hand where clocks change, and as properties at any instant in many zones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.steps import CalendarStep, Unit

HOUR = timedelta(hours=1)
# Half hours, the southern summer, clocks that change at midnight (forwards and back), and a skipped day (2011-12-30).
ZONES = (
    "UTC",
    "Europe/Dublin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Atlantic/Azores",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "Pacific/Kiritimati",
)
STEPS = st.builds(CalendarStep, st.sampled_from(get_args(Unit)), st.sampled_from(ZONES))
INSTANTS = st.datetimes(datetime(1850, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
COUNTS = st.integers(-3000, 3000)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


def as_array(*instants: datetime) -> np.ndarray:
    return np.array([instant.replace(tzinfo=None) for instant in instants], "datetime64[us]")


@pytest.mark.parametrize(
    ("text", "instant", "start", "following"),
    [
        ("month", utc(2024, 2, 29, 23, 59), utc(2024, 2, 1), utc(2024, 3, 1)),
        ("month", utc(1969, 12, 31), utc(1969, 12, 1), utc(1970, 1, 1)),
        ("quarter", utc(2024, 3, 31, 12), utc(2024, 1, 1), utc(2024, 4, 1)),
        ("quarter", utc(1969, 1, 1), utc(1969, 1, 1), utc(1969, 4, 1)),
        ("week", utc(2024, 1, 7, 23), utc(2024, 1, 1), utc(2024, 1, 8)),  # a Sunday belongs to the Monday before
        ("week", utc(1970, 1, 1), utc(1969, 12, 29), utc(1970, 1, 5)),
        ("day in Europe/Dublin", utc(2024, 3, 31, 12), utc(2024, 3, 31), utc(2024, 3, 31, 23)),  # 23 hours
        ("day in Europe/Dublin", utc(2024, 10, 27, 12), utc(2024, 10, 26, 23), utc(2024, 10, 28)),  # 25 hours
        ("month in Europe/Dublin", utc(2024, 4, 30, 23, 30), utc(2024, 4, 30, 23), utc(2024, 5, 31, 23)),
        # Midnight did not exist: clocks went from 0:00 to 1:00.
        ("day in America/Sao_Paulo", utc(2018, 11, 4, 3), utc(2018, 11, 4, 3), utc(2018, 11, 5, 2)),
        # Clocks went back from 1:00 to 0:00, so midnight occurred twice: the day began at the first.
        ("day in Atlantic/Azores", utc(2024, 10, 27, 0, 30), utc(2024, 10, 27), utc(2024, 10, 28, 1)),
        # Clocks went back from 0:01 to 23:01 of the day before, which was over by then.
        ("day in America/St_Johns", utc(2006, 10, 29, 3), utc(2006, 10, 29, 2, 30), utc(2006, 10, 30, 3, 30)),
    ],
)
def test_steps_by_hand(text: str, instant: datetime, start: datetime, following: datetime) -> None:
    step = CalendarStep.parse(text)
    assert step.floor(instant) == start
    assert step.start(step.number(instant) + 1) == following
    assert step.floor(following - timedelta(microseconds=1)) == start


def test_lengths() -> None:
    assert [CalendarStep(unit).mean.total_seconds() for unit in ("day", "week", "month", "quarter")] == [
        86_400,
        604_800,
        2_629_746,
        7_889_238,
    ]
    assert 12 * CalendarStep("month").mean == 4 * CalendarStep("quarter").mean == timedelta(days=365.2425)


@given(STEPS, INSTANTS)
@example(CalendarStep("day", "Pacific/Apia"), utc(2011, 12, 30, 9, 59))
@example(CalendarStep("day", "Pacific/Apia"), utc(2011, 12, 30, 10))
@example(CalendarStep("day", "America/St_Johns"), utc(2006, 10, 29, 3))
def test_each_instant_is_in_one_step(step: CalendarStep, instant: datetime) -> None:
    number = step.number(instant)
    assert step.start(number) <= instant < step.start(number + 1)
    assert step.number(step.floor(instant)) == number
    assert step.start(number + 1) - step.start(number) <= step.longest


@given(STEPS, INSTANTS, COUNTS)
def test_a_step_starts_when_its_local_date_begins(step: CalendarStep, instant: datetime, count: int) -> None:
    start = step.start(step.number(instant) + count)
    local, before = (at.astimezone(ZoneInfo(step.zone)) for at in (start, start - timedelta(seconds=1)))
    assert before.date() < local.date() or step.zone in ("America/St_Johns", "Pacific/Apia")
    match step.unit:
        case "week":
            assert local.weekday() == 0
        case "month":
            assert local.day == 1
        case "quarter":
            assert (local.day, local.month % 3) == (1, 1)


@settings(deadline=None, max_examples=40)
@given(STEPS, st.lists(INSTANTS, min_size=1, max_size=20), COUNTS)
def test_arrays_agree_with_single_instants(step: CalendarStep, instants: list[datetime], count: int) -> None:
    numbers = step.numbers(as_array(*instants))
    assert numbers.tolist() == [step.number(instant) for instant in instants]
    starts = step.starts(numbers + count)
    assert starts.tolist() == as_array(*(step.start(int(number) + count) for number in numbers)).tolist()
    assert starts.dtype == "datetime64[us]"


@given(STEPS, INSTANTS, INSTANTS)
def test_later_instants_have_no_smaller_number(step: CalendarStep, one: datetime, other: datetime) -> None:
    first, last = sorted((one, other))
    assert step.number(first) <= step.number(last)


@settings(deadline=None, max_examples=30)
@given(STEPS, st.timedeltas(timedelta(0), timedelta(days=400)))
def test_the_most_steps_that_start_within_a_time(step: CalendarStep, length: timedelta) -> None:
    most = step.most_starts(length)
    first = step.number(utc(2003, 3, 5))
    within = [
        step.number(step.start(number)) - step.number(step.start(number) - length) for number in (first, first + 9)
    ]
    assert max(within) <= most <= max(within) + 2


@pytest.mark.parametrize("text", ["month", "quarter", "week", "day in Europe/Dublin", "month in Asia/Kathmandu"])
def test_text_and_back(text: str) -> None:
    assert str(CalendarStep.parse(text)) == text


@pytest.mark.parametrize("text", ["", "months", "1month", "month in", "day  in UTC", "month in Europe/Dublin\n", "1d"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a calendar step; write one of day, week, month, quarter"):
        CalendarStep.parse(text)
