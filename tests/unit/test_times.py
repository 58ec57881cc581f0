from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.steps import add, floor
from pipeline.times import (
    Cadence,
    as_datetime,
    as_numpy,
    parse_instant,
    stamp,
)
from tests.world import make_product

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


def cadence(
    step: timedelta = DAY,
    delay: timedelta = 6 * HOUR,
    cron: str = "0 7 * * *",
    *,
    horizon: int = 3,
    time_zone: str = "UTC",
) -> Cadence:
    return Cadence(step, delay, horizon, cron, time_zone)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1978-12-14", utc(1978, 12, 14)),
        ("1978-12-14T06:00", utc(1978, 12, 14, 6)),
        ("1978-12-14T06:00Z", utc(1978, 12, 14, 6)),
        ("1978-12-14T06:00+05:30", utc(1978, 12, 14, 0, 30)),
    ],
)
def test_times_from_text(text: str, instant: datetime) -> None:
    assert parse_instant(text) == instant
    assert parse_instant(text).tzinfo is UTC


@pytest.mark.parametrize("text", ["", "yesterday", "1978-13-01", "14.12.1978", "1978-12-14T25:00"])
def test_text_that_is_not_a_time(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not a date or time; write e\.g\. 1978-12-14"):
        parse_instant(text)


def test_a_stamp_is_utc_and_sorts() -> None:
    assert stamp(datetime(1978, 12, 14, 8, tzinfo=timezone(HOUR))) == "19781214T070000Z"
    assert stamp(utc(1978, 9, 1)) < stamp(utc(1978, 12, 1)) < stamp(utc(2000, 1, 1))


@given(st.datetimes(timezones=st.just(UTC)))
def test_numpy_and_back(instant: datetime) -> None:
    assert as_datetime(as_numpy(instant)) == instant


def test_numpy_of_another_zone_is_utc() -> None:
    assert as_numpy(datetime(2000, 1, 1, 1, tzinfo=timezone(HOUR))) == np.datetime64("2000-01-01T00", "us")


@pytest.mark.parametrize(
    ("instant", "step", "grid"),
    [
        (utc(2000, 1, 1, 7), DAY, utc(2000, 1, 1)),
        (utc(2000, 1, 1), DAY, utc(2000, 1, 1)),
        (utc(1969, 12, 31, 23), DAY, utc(1969, 12, 31)),  # before the epoch, still downwards
        (utc(2000, 1, 1, 6, 45), HOUR, utc(2000, 1, 1, 6)),
        (utc(2000, 1, 1, 6, 45), 90 * MINUTE, utc(2000, 1, 1, 6)),
    ],
)
def test_floor_by_hand(instant: datetime, step: timedelta, grid: datetime) -> None:
    assert floor(instant, step) == grid


@pytest.mark.parametrize(
    ("of", "issue", "origin", "gap", "first"),
    [
        # The mean up to midnight is here at 6: at 7 it is the newest, and tomorrow's midnight comes next.
        (cadence(), utc(2001, 3, 10, 7), utc(2001, 3, 10), 0, utc(2001, 3, 11)),
        # At exactly 6 it just arrived.
        (cadence(cron="0 6 * * *"), utc(2001, 3, 10, 6), utc(2001, 3, 10), 0, utc(2001, 3, 11)),
        # At 5 it has not: one frame lies between.
        (cadence(cron="0 5 * * *"), utc(2001, 3, 10, 5), utc(2001, 3, 9), 1, utc(2001, 3, 11)),
        # Without delay an issue on the grid knows its own frame.
        (cadence(HOUR, 0 * HOUR, "0 * * * *"), utc(2001, 3, 10, 6), utc(2001, 3, 10, 6), 0, utc(2001, 3, 10, 7)),
        (
            cadence(HOUR, 30 * MINUTE, "45 * * * *"),
            utc(2001, 3, 10, 6, 45),
            utc(2001, 3, 10, 6),
            0,
            utc(2001, 3, 10, 7),
        ),
        (
            cadence(HOUR, 30 * MINUTE, "15 * * * *"),
            utc(2001, 3, 10, 6, 15),
            utc(2001, 3, 10, 5),
            1,
            utc(2001, 3, 10, 7),
        ),
        # Delay above a step: 06:45 - 3:30 = 03:15; 4, 5 and 6 o'clock are not known yet.
        (
            cadence(HOUR, 210 * MINUTE, "45 * * * *"),
            utc(2001, 3, 10, 6, 45),
            utc(2001, 3, 10, 3),
            3,
            utc(2001, 3, 10, 7),
        ),
        # Two days and six hours late.
        (cadence(DAY, 54 * HOUR), utc(2001, 3, 10, 7), utc(2001, 3, 8), 2, utc(2001, 3, 11)),
    ],
)
def test_origin_gap_and_leads_by_hand(
    of: Cadence, issue: datetime, origin: datetime, gap: int, first: datetime
) -> None:
    assert of.origin(issue) == origin
    assert of.gap(issue) == gap
    assert of.lead_times(issue) == [add(first, steps, of.step) for steps in range(3)]
    assert of.leads == gap + 3


def test_leads_cover_the_larger_gap_of_summer_and_winter() -> None:
    # 07:00 in Dublin is 07:00 UTC in winter and 06:00 in summer; with 6:30 of delay only winter knows midnight.
    dublin = cadence(delay=390 * MINUTE, time_zone="Europe/Dublin")
    assert dublin.gap(utc(2001, 1, 10, 7)) == 0
    assert dublin.gap(utc(2001, 7, 10, 6)) == 1
    assert dublin.leads == 4


def test_a_cadence_is_read_from_a_product(tmp_path: Path) -> None:
    product = make_product(tmp_path, days=20, horizon=4, schedule={"time_zone": "Europe/Dublin"})
    assert Cadence.of(product) == cadence(horizon=4, time_zone="Europe/Dublin")


@pytest.mark.parametrize(
    ("zone", "since", "expected"),
    [
        ("UTC", utc(2024, 3, 30, 7), [7, 31, 55]),
        # Dublin went to summer time on 31 March 2024, and back on 27 October.
        ("Europe/Dublin", utc(2024, 3, 30, 7), [7, 30, 54]),
        ("Europe/Dublin", utc(2024, 10, 26, 6), [6, 31, 55]),
    ],
)
def test_issue_times_keep_their_local_hour(zone: str, since: datetime, expected: list[int]) -> None:
    midnight = floor(since, DAY)
    found = list(cadence(time_zone=zone).issues(since, midnight + 55 * HOUR))
    assert [(issue - midnight) // HOUR for issue in found] == expected
    assert all(issue.tzinfo is UTC for issue in found)


def test_an_hourly_schedule_misses_no_hour_when_clocks_change() -> None:
    hourly = cadence(HOUR, 0 * HOUR, "5 * * * *", time_zone="Europe/Dublin")
    for midnight in (utc(2024, 3, 31), utc(2024, 10, 27)):
        found = list(hourly.issues(midnight, midnight + 6 * HOUR))
        assert found == [midnight + n * HOUR + 5 * MINUTE for n in range(6)]


def test_a_skipped_and_a_repeated_local_time_are_issued_once() -> None:
    # 01:30 did not exist in Dublin on 31 March 2024 and came twice on 27 October.
    early = cadence(cron="30 1 * * *", time_zone="Europe/Dublin")
    for day in (utc(2024, 3, 31), utc(2024, 10, 27)):
        assert len(list(early.issues(day - 12 * HOUR, day + 12 * HOUR))) == 1


@pytest.mark.parametrize("cron", ["5 * * * *", "30 1 * * *", "30 1,2,3 * * *", "*/20 * * * *"])
def test_the_latest_issue_around_a_repeated_hour(cron: str) -> None:
    dublin = cadence(cron=cron, time_zone="Europe/Dublin")
    every = list(dublin.issues(utc(2024, 10, 25), utc(2024, 10, 28)))
    for minute in range(0, 300, 5):
        for second in (-1, 0):
            now = utc(2024, 10, 26, 22) + timedelta(minutes=minute, seconds=second)
            assert dublin.latest_issue(now) == max(issue for issue in every if issue <= now)


def test_leads_cover_an_issue_in_the_skipped_hour() -> None:
    # 01:30 in Dublin is not there on 31 March 2024; whenever that issue comes, its horizon must be forecast.
    pushed = cadence(HOUR, MINUTE * 15, "30 1 * * *", time_zone="Europe/Dublin")
    (issue,) = pushed.issues(utc(2024, 3, 30, 12), utc(2024, 3, 31, 12))
    assert pushed.gap(issue) + pushed.horizon <= pushed.leads


def test_the_range_of_issue_times_includes_both_ends() -> None:
    daily = cadence()
    assert list(daily.issues(utc(2001, 1, 1, 7), utc(2001, 1, 2, 7))) == [utc(2001, 1, 1, 7), utc(2001, 1, 2, 7)]
    assert list(daily.issues(utc(2001, 1, 1, 7, 0, 1), utc(2001, 1, 2, 6, 59, 59))) == []
    assert list(daily.issues(utc(2001, 1, 2), utc(2001, 1, 1))) == []


@pytest.mark.parametrize(
    ("now", "issue"),
    [
        (utc(2001, 1, 2, 7), utc(2001, 1, 2, 7)),
        (utc(2001, 1, 2, 6, 59, 59, 999_999), utc(2001, 1, 1, 7)),
        (utc(2001, 1, 2, 6, 59, 59), utc(2001, 1, 1, 7)),
        (utc(2001, 1, 2, 7, 0, 0, 1), utc(2001, 1, 2, 7)),
        (datetime(2001, 1, 2, 7, 30, tzinfo=timezone(HOUR)), utc(2001, 1, 1, 7)),
    ],
)
def test_the_latest_issue_is_not_after_now(now: datetime, issue: datetime) -> None:
    assert cadence().latest_issue(now) == issue


CRONS = st.sampled_from(
    ["5 * * * *", "*/20 * * * *", "0 7 * * *", "30 1 * * *", "15 2 * * *", "0 0,12 * * *", "45 23 * * *"]
)
ZONES = st.sampled_from(["UTC", "Europe/Dublin", "America/New_York", "Pacific/Auckland", "Australia/Lord_Howe"])
# Around the changes of the clocks of these zones in 2024, and anywhere.
SWITCHES = [
    utc(2024, 3, 10),
    utc(2024, 3, 31),
    utc(2024, 4, 6),
    utc(2024, 9, 28),
    utc(2024, 10, 5),
    utc(2024, 10, 27),
    utc(2024, 11, 3),
]
NOWS = st.one_of(
    st.builds(
        lambda day, seconds: day + timedelta(seconds=seconds), st.sampled_from(SWITCHES), st.integers(0, 129_600)
    ),
    st.datetimes(datetime(1960, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)


@given(CRONS, ZONES, NOWS)
@settings(max_examples=150, deadline=None)
def test_the_latest_issue_is_the_last_of_the_issues_until_now(cron: str, zone: str, now: datetime) -> None:
    one = cadence(cron=cron, time_zone=zone)
    before = list(one.issues(now - 3 * DAY, now))
    assert before == sorted(set(before))
    assert one.latest_issue(now) == before[-1]


@given(
    CRONS,
    ZONES,
    NOWS,
    st.sampled_from([10 * MINUTE, HOUR, 6 * HOUR, DAY, 5 * DAY]),
    st.integers(0, 4000).map(lambda minutes: minutes * MINUTE),
)
@settings(max_examples=150, deadline=None)
def test_every_issue_time_has_its_horizon_and_knows_nothing_too_early(
    cron: str, zone: str, now: datetime, step: timedelta, delay: timedelta
) -> None:
    one = cadence(step, delay, cron, time_zone=zone)
    for issue in list(one.issues(now - 2 * DAY, now))[:10]:
        assert one.origin(issue) + delay <= issue < one.origin(issue) + step + delay
        assert issue - step < one.origin(issue) + one.gap(issue) * step <= issue
        assert one.lead_times(issue)[0] > issue >= one.lead_times(issue)[0] - step
        assert one.gap(issue) + one.horizon <= one.leads
