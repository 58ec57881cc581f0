"""The issue times of a product whose file names none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.config.schedule import once_a_step
from pipeline.steps import CalendarStep, Step, add, floor
from pipeline.times import Cadence

HOUR, DAY = timedelta(hours=1), timedelta(days=1)

STEPS: dict[str, Step] = {
    "3 hours": 3 * HOUR,
    "12 hours": 12 * HOUR,
    "day": DAY,
    "7 days": 7 * DAY,
    "day in Dublin": CalendarStep.parse("day in Europe/Dublin"),
    "week": CalendarStep.parse("week"),
    "month": CalendarStep.parse("month"),
    "month in New York": CalendarStep.parse("month in America/New_York"),
    "quarter": CalendarStep.parse("quarter"),
}


@pytest.mark.parametrize("zone", ["UTC", "Europe/Dublin", "Pacific/Auckland", "America/New_York", "Asia/Kolkata"])
@pytest.mark.parametrize("delay", [timedelta(0), timedelta(minutes=90), 10 * HOUR, 3 * DAY, 11 * DAY])
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_forecast_is_issued_once_a_step_soon_after_its_frame_is_due(step: Step, delay: timedelta, zone: str) -> None:
    cadence = Cadence(step, delay, 1, once_a_step(step, delay, zone), zone)
    issues = list(cadence.issues(datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)))
    origins = [cadence.origin(issue) for issue in issues]
    assert len(issues) > 1
    if isinstance(step, CalendarStep) or step >= DAY:  # clock changes move the grid of shorter steps
        assert origins == [add(origins[0], number, step) for number in range(len(issues))]
    # Hours are full, clocks change, and a month of UTC may begin on the evening of the 31st.
    late = max(issue - delay - origin for issue, origin in zip(issues, origins, strict=True))
    assert late < 6 * HOUR


@pytest.mark.parametrize(
    ("step", "cron"),
    [
        (timedelta(minutes=5), "5 * * * *"),
        (HOUR, "5 * * * *"),
        (timedelta(minutes=90), "5 * * * *"),
        (5 * HOUR, "5 * * * *"),
        (6 * HOUR, "5 1-23/6 * * *"),
        (DAY, "5 1 * * *"),
        (8 * DAY, "5 1 * * *"),
        (CalendarStep.parse("month"), "5 1 1 * *"),
        (CalendarStep.parse("quarter"), "5 1 1 1-12/3 *"),
    ],
    ids=str,
)
def test_the_expression_is_plain(step: Step, cron: str) -> None:
    assert once_a_step(step, HOUR, "UTC") == cron


def test_a_day_that_some_months_lack_is_not_skipped() -> None:
    """February has no 30th; the forecast waits for the first."""
    step = CalendarStep.parse("month")
    cadence = Cadence(step, 29 * DAY, 1, once_a_step(step, 29 * DAY, "UTC"), "UTC")
    issues = list(cadence.issues(datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 12, 31, tzinfo=UTC)))
    assert {floor(issue, step) for issue in issues} == {datetime(2025, month, 1, tzinfo=UTC) for month in range(1, 13)}
