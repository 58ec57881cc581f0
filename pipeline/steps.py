"""Arithmetic with time steps: durations, counted from 1970 in UTC, and calendar steps, which differ in length.

All code that relates instants to the time grid of a feed uses these functions. A grid time is the start of a step, and
the valid time of the step before it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from models.steps import CalendarStep

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Times = NDArray[np.datetime64]

__all__ = [
    "CalendarStep",
    "Step",
    "add",
    "between",
    "calendar_name",
    "count_steps",
    "describe",
    "floor",
    "identify",
    "longest",
    "mean_length",
    "most_starts",
    "period_name",
    "read_identity",
    "shift",
    "valid_time_of",
]

Step = timedelta | CalendarStep

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def floor(instant: datetime, step: Step) -> datetime:
    """Return the latest grid time that is not after the instant."""
    if isinstance(step, timedelta):
        return instant - (instant - _EPOCH) % step
    return step.floor(instant)


def add(instant: datetime, count: int, step: Step) -> datetime:
    """Return the grid time `count` steps after a grid time; before it, if `count` is negative."""
    if isinstance(step, timedelta):
        return instant + count * step
    return step.start(step.number(instant) + count)


def between(start: datetime, end: datetime, step: Step) -> int:
    """Return the number of whole steps from a grid time to an instant, rounded down: negative if that is earlier."""
    if isinstance(step, timedelta):
        return (end - start) // step
    return step.number(end) - step.number(start)


def count_steps(start: np.datetime64, times: Times, step: Step) -> NDArray[np.int64]:
    """Return what `between` returns for a grid time and each of some times; microseconds, none missing."""
    import numpy as np

    if isinstance(step, timedelta):
        counts: NDArray[np.int64] = (times - start) // np.timedelta64(step)
        return counts
    return step.numbers(times) - step.numbers(np.asarray(start))


def shift(start: np.datetime64, counts: NDArray[np.int64], step: Step) -> Times:
    """Return what `add` returns for a grid time and each of some counts; microseconds."""
    import numpy as np

    if isinstance(step, timedelta):
        return start + counts * np.timedelta64(step)
    return step.starts(step.numbers(np.asarray(start)) + counts)


def mean_length(step: Step) -> timedelta:
    """Return the mean length of a step."""
    return step if isinstance(step, timedelta) else step.mean


def longest(step: Step) -> timedelta:
    """Return a length that no step exceeds."""
    return step if isinstance(step, timedelta) else step.longest


def most_starts(length: timedelta, step: Step) -> int:
    """Return the largest number of grid times within a time of this length, its first instant left out."""
    return -(-length // step) if isinstance(step, timedelta) else step.most_starts(length)


def valid_time_of(starts: Times, step: Step) -> Times:
    """Return the valid time of the periods that begin at some times: their end."""
    import numpy as np

    if isinstance(step, timedelta):
        return starts + np.timedelta64(step)
    return step.starts(step.numbers(starts) + 1)


def identify(step: Step) -> float | str:
    """Return the step as it is written in metadata and keys: seconds, or the text of a calendar step."""
    return step.total_seconds() if isinstance(step, timedelta) else str(step)


def read_identity(value: float | str) -> Step:
    """Return the step that `identify` wrote.

    Raises:
        ValueError: the value is none.
    """
    return CalendarStep.parse(value) if isinstance(value, str) else timedelta(seconds=value)


def describe(count: int, step: CalendarStep) -> str:
    """Return a number of calendar steps in words, e.g. "3 months"."""
    return f"{count:,} {step.unit}{'' if count == 1 else 's'}"


def calendar_name(valid_time: datetime | None, step: Step) -> str | None:
    """Return the name of the calendar step that ends at a valid time; None for a duration, or without a time."""
    return None if valid_time is None or isinstance(step, timedelta) else period_name(valid_time, step)


def period_name(valid_time: datetime, step: Step) -> str:
    """Return the name of the calendar step that ends at a valid time, such as "March 2024"; for a duration, the time.

    The others are "Q1 2024", "week of 4 March 2024" (a Monday) and "14 March 2024".
    """
    if isinstance(step, timedelta):
        return f"{valid_time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    first = add(valid_time, -1, step).astimezone(ZoneInfo(step.zone))
    month = f"{_MONTHS[first.month - 1]} {first.year}"
    match step.unit:
        case "quarter":
            return f"Q{(first.month + 2) // 3} {first.year}"
        case "month":
            return month
        case "week":
            return f"week of {first.day} {month}"
        case "day":
            return f"{first.day} {month}"
