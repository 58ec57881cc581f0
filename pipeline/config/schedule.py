"""When each job of a product runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator

from pipeline.config.base import Strict
from pipeline.errors import InvalidValueError
from pipeline.names import check_zone
from pipeline.steps import CalendarStep, Step, floor


def _check_cron(text: str) -> str:
    try:
        if len(text.split()) != 5:
            raise CronSimError("Wrong number of fields")
        CronSim(text, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise InvalidValueError(
            f"{text!r} is not a cron expression, {error}", "write five fields, e.g. '0 6 * * *'"
        ) from None
    return text


Cron = Annotated[str, AfterValidator(_check_cron)]
Zone = Annotated[str, AfterValidator(check_zone)]

_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_SHORTEST_MONTH = 28


class Schedule(Strict):
    """When each job runs, as cron expressions. The times of `forecast` are the issue times."""

    ingest: Cron = "*/15 * * * *"
    """When to fetch, validate and store new observations."""
    forecast: Cron | None = None
    """When to issue forecasts. Default: once in each time step, as soon as `feed.delay` has passed; at most every
    hour, and every day where cron has no expression for the step."""
    retrain: Cron = "0 2 * * *"
    """When to train challengers and run the gate."""
    verify: Cron = "30 * * * *"
    """When to score forecasts whose valid times have passed."""
    maintain: Cron = "15 3 * * *"
    """When to check digests, compact tables and delete unused files."""
    time_zone: Zone = "UTC"
    """IANA time zone of the cron expressions."""


def once_a_step(step: Step, delay: timedelta, time_zone: str) -> str:
    """Return the cron expression, in a zone, of five minutes after a frame is due, in full hours after its step."""
    first = floor(datetime(2001, 1, 1, tzinfo=UTC), step)  # a Monday that begins a quarter
    offset = max(datetime(2001, month, 1, tzinfo=ZoneInfo(time_zone)).utcoffset() or _HOUR * 0 for month in (1, 7))
    due = first + -((-delay - offset) // _HOUR) * _HOUR
    if isinstance(step, CalendarStep):
        return _once_a_calendar_step(step, due)
    hours = step // _HOUR
    if step == 7 * _DAY:
        return f"5 {due.hour} * * {due.isoweekday() % 7}"
    if step >= _DAY:
        return f"5 {due.hour} * * *"
    if hours > 1 and _DAY % step == timedelta(0):
        return f"5 {due.hour % hours}-23/{hours} * * *"
    return "5 * * * *"


def _once_a_calendar_step(step: CalendarStep, due: datetime) -> str:
    if step.unit in ("month", "quarter") and due.day > _SHORTEST_MONTH:
        due = floor(due + 4 * _DAY, CalendarStep("month"))  # every month has a first
    days = {
        "day": "* * *",
        "week": f"* * {due.isoweekday() % 7}",
        "month": f"{due.day} * *",
        "quarter": f"{due.day} {(due.month - 1) % 3 + 1}-12/3 *",
    }
    return f"5 {due.hour} {days[step.unit]}"
