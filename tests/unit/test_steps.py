"""Arithmetic with time steps of either kind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import steps
from pipeline.steps import CalendarStep, Step
from pipeline.times import Cadence, as_numpy

MONTH, DUBLIN = CalendarStep("month"), CalendarStep("day", "Europe/Dublin")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
STEPS: tuple[Step, ...] = (
    HOUR,
    DAY,
    7 * DAY,
    MONTH,
    CalendarStep("week"),
    CalendarStep("quarter", "America/New_York"),
    DUBLIN,
)
INSTANTS = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


@given(st.sampled_from(STEPS), INSTANTS, st.integers(-500, 500))
def test_add_and_between_are_inverse(step: Step, instant: datetime, count: int) -> None:
    start = steps.floor(instant, step)
    assert steps.floor(start, step) == start <= instant < steps.add(start, 1, step)
    moved = steps.add(start, count, step)
    assert steps.between(start, moved, step) == count
    assert steps.between(moved, start, step) == -count
    assert steps.floor(moved, step) == moved
    assert steps.between(start, steps.add(start, count + 1, step) - timedelta(microseconds=1), step) == count


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(STEPS), INSTANTS, st.lists(st.integers(-500, 500), min_size=1, max_size=10))
def test_arrays_agree_with_single_instants(step: Step, instant: datetime, counts: list[int]) -> None:
    start = steps.floor(instant, step)
    moved = steps.shift(as_numpy(start), np.array(counts), step)
    assert moved.tolist() == [as_numpy(steps.add(start, count, step)).tolist() for count in counts]
    assert steps.count_steps(as_numpy(start), moved, step).tolist() == counts


@given(st.sampled_from(STEPS), st.integers(1, 40), INSTANTS)
def test_means_and_bounds_hold(step: Step, count: int, instant: datetime) -> None:
    start = steps.floor(instant, step)
    span = steps.add(start, count, step) - start
    assert span <= count * steps.longest(step)
    assert abs(span - count * steps.mean_length(step)) <= timedelta(days=3) + HOUR


@pytest.mark.parametrize("step", STEPS)
def test_identity_and_back(step: Step) -> None:
    assert steps.read_identity(steps.identify(step)) == step


def test_the_identity_of_a_duration_is_its_seconds() -> None:
    assert steps.identify(DAY) == 86_400.0


@pytest.mark.parametrize(
    ("valid_time", "step", "name"),
    [
        (utc(2024, 4, 1), "month", "March 2024"),
        (utc(2024, 1, 1), "month", "December 2023"),
        (utc(2024, 4, 1), "quarter", "Q1 2024"),
        (utc(2024, 3, 11), "week", "week of 4 March 2024"),
        (utc(2024, 3, 31, 23), "day in Europe/Dublin", "31 March 2024"),
        (utc(2024, 6, 30, 23), "month in Europe/Dublin", "June 2024"),
    ],
)
def test_names_of_periods(valid_time: datetime, step: str, name: str) -> None:
    assert steps.period_name(valid_time, CalendarStep.parse(step)) == name
    assert steps.calendar_name(valid_time, CalendarStep.parse(step)) == name


def test_a_fixed_step_has_no_calendar_name() -> None:
    assert steps.calendar_name(utc(2024, 3, 1), DAY) is None
    assert steps.period_name(utc(2024, 3, 1), DAY) == "2024-03-01 00:00 UTC"
    assert [steps.describe(count, MONTH) for count in (1, 3)] == ["1 month", "3 months"]


@pytest.mark.parametrize(
    ("delay", "issue", "origin", "gap", "leads"),
    [
        # On 10 February, January has arrived (it is due on the 6th) and February is the first month to forecast.
        (5 * DAY, utc(2024, 2, 10), utc(2024, 2, 1), 0, 2),
        # On the 3rd it would not have: January would be forecast, but not published. No forecast is issued then.
        (5 * DAY, utc(2024, 2, 3), utc(2024, 1, 1), 1, 2),
        (40 * DAY, utc(2024, 3, 5), utc(2024, 1, 1), 2, 4),  # January ended 34 days ago
        (timedelta(0), utc(2024, 2, 1), utc(2024, 2, 1), 0, 2),
    ],
)
def test_cadence_of_months_by_hand(delay: timedelta, issue: datetime, origin: datetime, gap: int, leads: int) -> None:
    cadence = Cadence(MONTH, delay, 2, "0 0 10 * *", "UTC")
    assert (cadence.origin(issue), cadence.gap(issue), cadence.leads) == (origin, gap, leads)
    first = issue.month % 12 + 1
    assert cadence.lead_times(issue) == [utc(2024, first, 1), utc(2024, first + 1, 1)]


@pytest.mark.parametrize(
    ("step", "cron", "time_zone", "leads"),
    [
        ("month", "0 0 3 * *", "UTC", 3),
        ("month", "0 0 * * 2", "UTC", 3),  # now and then a Tuesday is among the first five days
        ("month", "0 0 6 * *", "UTC", 2),  # exactly when the value arrives
        ("month", "0 0 6 * *", "Europe/Dublin", 3),  # an hour before, in summer
        ("quarter", "0 12 3 1,4,7,10 *", "UTC", 3),
        ("quarter", "0 12 3 2,5,8,11 *", "UTC", 2),
        ("week", "0 12 * * 2", "UTC", 3),
        ("week", "0 12 * * 6", "UTC", 2),
        ("day in Europe/Dublin", "0 12 * * *", "UTC", 8),  # up to six days start within five days, one of 23 hours
    ],
)
def test_leads_of_a_schedule(step: str, cron: str, time_zone: str, leads: int) -> None:
    assert Cadence(CalendarStep.parse(step), 5 * DAY, 2, cron, time_zone).leads == leads


def test_forecasts_cover_local_days_across_a_change_of_clocks() -> None:
    cadence = Cadence(DUBLIN, HOUR, 3, "0 7 * * *", "Europe/Dublin")
    assert cadence.lead_times(utc(2024, 3, 30, 7)) == [utc(2024, 3, 31), utc(2024, 3, 31, 23), utc(2024, 4, 1, 23)]


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from([step for step in STEPS if isinstance(step, CalendarStep)]),
    st.timedeltas(timedelta(0), timedelta(days=100)),
    INSTANTS,
)
def test_a_model_forecasts_enough_leads_at_every_issue_time(
    step: CalendarStep, delay: timedelta, issue: datetime
) -> None:
    cadence = Cadence(step, delay, 2, "0 0 10 * *", "America/New_York")
    issue = cadence.latest_issue(issue)
    assert cadence.gap(issue) + cadence.horizon <= cadence.leads
    assert cadence.lead_times(issue)[-1] == steps.add(cadence.origin(issue), cadence.gap(issue) + 2, step)
    assert cadence.lead_times(issue)[0] > issue
