"""Ticks of axes: round numbers, and readable dates and times."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count, pairwise
from zoneinfo import ZoneInfo

from pipeline.report.data import Instant, TimeLabel
from pipeline.report.typography import DAY, EPOCH, MONTHS, drawn_at, utc, whole_days
from pipeline.steps import CalendarStep, Step, mean_length

_CLOCK = tuple(timedelta(minutes=m) for m in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720))
_STRIDES = {
    "day": (1, 2, 3, 5, 7, 10, 14, 28, 56, 91, 182, 365),
    "week": (1, 2, 4, 8, 13, 26, 52, 104),
    "month": (1, 2, 3, 6, 12, 24, 60, 120),
    "quarter": (1, 2, 4, 8, 20, 40),
}
_DAYS = (1, 2, 3, 5, 7, 10, 14, 28, 56, 91, 182, 365, 730, 1826, 3652)


def nice_step(rough: float) -> float:
    """Return the smallest of 1, 2 or 5 times a power of ten that is at least `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    for factor in (1, 2, 5):
        if factor * power >= rough * (1 - 1e-9):
            return factor * power
    return 10 * power


def nice_ticks(low: float, high: float, most: int) -> list[float]:
    """Return round values, ascending and evenly spaced, that enclose `low`..`high` in about `most` intervals.

    Equal limits are widened first. Rounding can add one interval.
    """
    if high - low <= 1e-9 * max(1.0, abs(low), abs(high)):
        pad = max(abs(low) * 0.02, 1.0)
        low, high = low - pad, high + pad
    step = nice_step((high - low) / most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def tick_decimals(ticks: list[float]) -> int:
    """Return the decimals needed to distinguish the ticks."""
    step = min((b - a for a, b in pairwise(ticks)), default=1.0)
    return max(0, -math.floor(math.log10(step) + 1e-9))


@dataclass(frozen=True)
class TimeTick:
    """A tick on a time axis: its instant, its label, and a second line where a new day begins."""

    at: datetime
    label: str
    below: str = ""


@dataclass(frozen=True)
class TimeScale:
    """Positions of times along `left`..`right`.

    With "start", and for calendar steps, a value is drawn in the middle of its period, with "end" at its valid time.
    """

    first: datetime
    last: datetime
    left: float
    right: float
    step: Step
    label: TimeLabel

    def drawn_at(self, valid_time: Instant) -> datetime:
        """Return the instant at which a value is drawn."""
        return drawn_at(valid_time, self.step, self.label)

    def x(self, at: datetime) -> float:
        """Return the position of an instant."""
        length = (self.last - self.first) / timedelta(seconds=1)
        return self.left + (self.right - self.left) * ((at - self.first) / timedelta(seconds=1)) / max(length, 1e-9)

    def value_x(self, valid_time: Instant) -> float:
        """Return the position of a value."""
        return self.x(self.drawn_at(valid_time))


def time_ticks(scale: TimeScale, anchor: Instant, most: int) -> list[TimeTick]:
    """Return about `most` ticks or fewer: days counted from the value valid at `anchor`, or round clock times."""
    span = scale.last - scale.first
    if not isinstance(scale.step, timedelta):
        return _calendar_ticks(scale, scale.step, utc(anchor), most)
    if whole_days(scale.step) or span > most * _CLOCK[-1]:
        return _day_ticks(scale, anchor, span, most)
    shortest = min(scale.step, _CLOCK[-1])
    step = next((s for s in _CLOCK if span / s <= most and s >= shortest), _CLOCK[-1])
    first = math.ceil((scale.first - EPOCH) / step)
    out: list[TimeTick] = []
    at = EPOCH + first * step
    while at <= scale.last:
        newday = at.hour == 0 and at.minute == 0
        out.append(TimeTick(at, f"{at:%H:%M}", f"{at.day} {MONTHS[at.month - 1]}" if newday else ""))
        at += step
    if out and not any(tick.below for tick in out):
        out[0] = TimeTick(out[0].at, out[0].label, f"{out[0].at.day} {MONTHS[out[0].at.month - 1]}")
    return out


def _calendar_ticks(scale: TimeScale, step: CalendarStep, anchor: datetime, most: int) -> list[TimeTick]:
    """Return ticks in the middle of calendar steps; every month is named if months are steps, else days are."""
    steps = max(1, round((scale.last - scale.first) / step.mean))
    every = next((stride for stride in _STRIDES[step.unit] if steps / stride <= most), _STRIDES[step.unit][-1])
    number = step.number(anchor)
    back = (number - step.number(scale.first)) // every
    out: list[TimeTick] = []
    shown = ""
    for end in count(number - back * every, every):
        at = scale.drawn_at(step.start(end))
        if at > scale.last:
            return out
        first = step.start(end - 1).astimezone(ZoneInfo(step.zone))
        month = MONTHS[first.month - 1]
        match step.unit:
            case "quarter":
                label = f"Q{(first.month + 2) // 3} {first.year}"
            case "month":
                label = f"{month} {first.year}"
            case _:
                label = str(first.day) if month == shown else f"{first.day} {month}"
        if at >= scale.first:
            out.append(TimeTick(at, label))
            shown = month
    return out


def _day_ticks(scale: TimeScale, anchor: Instant, span: timedelta, most: int) -> list[TimeTick]:
    width = mean_length(scale.step)
    days = next((d for d in _DAYS if span / (d * DAY) <= most and d * DAY >= min(width, DAY)), _DAYS[-1])
    if whole_days(scale.step):
        centre, shift = scale.drawn_at(anchor), (width / 2 if scale.label == "start" else timedelta(0))
    else:
        centre, shift = utc(anchor).replace(hour=0, minute=0, second=0, microsecond=0), timedelta(0)
    back = math.floor((centre - scale.first) / (days * DAY))
    out: list[TimeTick] = []
    at, shown = centre - back * days * DAY, (0, 0)
    while at <= scale.last:
        named = at - shift
        month = (named.year, named.month)
        if span > 400 * DAY:
            label = f"{MONTHS[named.month - 1]} {named.year}"
        else:
            label = str(named.day) if month == shown else f"{named.day} {MONTHS[named.month - 1]}"
        out.append(TimeTick(at, label))
        at, shown = at + days * DAY, month
    return out
