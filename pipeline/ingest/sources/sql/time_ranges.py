"""Time ranges of queries: from valid times to time stamps, chunk by chunk, in the form of the time columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from pipeline.config.sources.sql import SqlSource
from pipeline.steps import Step

Bound = datetime | str | int

FIRST, LAST = datetime(1700, 1, 1, tzinfo=UTC), datetime(2261, 12, 31, tzinfo=UTC)
"""Range of supported time stamps."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)
_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)
_CLOCK = datetime(1970, 1, 1)  # noqa: DTZ001 - local time in any zone
_DATE = "%Y-%m-%d"  # compares less than or equal to any text that starts with it


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Time stamps in (after, by]."""

    after: datetime
    by: datetime

    def __str__(self) -> str:
        return f"{self.after + _TICK:%Y-%m-%dT%H:%MZ} to {self.by:%Y-%m-%dT%H:%MZ}"


def split_range(spec: SqlSource, backend: str, step: Step, since: datetime, until: datetime) -> Iterator[TimeRange]:
    """Yield successive ranges of time stamps that contain every row with a valid time in [since, until].

    Their boundaries do not depend on the range: multiples of the chunk since 1970, or midnights if time stamps can only
    be compared by day.
    """
    if isinstance(step, timedelta):
        early = latest = step if spec.time.label == "start" else timedelta(0)
    else:  # a time stamp may lie anywhere within its step
        early, latest = step.longest, timedelta(0)
    after = max(since - early - _slack(spec), FIRST) - _TICK
    last = min(until - latest, LAST)
    if _by_days(spec, backend):
        yield from _days(spec, after + _TICK, last)
        return
    while after < last:
        edge = after - (after - _EPOCH) % spec.chunk + spec.chunk
        yield TimeRange(after, min(edge, last))
        after = edge


def bounds(spec: SqlSource, backend: str, stamps: TimeRange) -> dict[str, Bound]:
    """Return :since, inclusive, and :until, exclusive, in the form of the time columns of a database.

    Time stamps are compared as they are written, so bounds are rounded up to the resolution of that form.
    """
    zone = ZoneInfo(spec.time.zone)
    given = {"since": stamps.after + _TICK, "until": stamps.by + _TICK}
    return {name: _written(spec, backend, at.astimezone(zone)) for name, at in given.items()}


def _days(spec: SqlSource, first: datetime, last: datetime) -> Iterator[TimeRange]:
    zone, count = ZoneInfo(spec.time.zone), max(1, spec.chunk // _DAY)
    day, end = (instant.astimezone(zone).toordinal() for instant in (first, last))
    while day <= end:
        following = min(day - day % count + count, end + 1)
        midnights = (datetime.fromordinal(number).replace(tzinfo=zone).astimezone(UTC) for number in (day, following))
        yield TimeRange(*(midnight - _TICK for midnight in midnights))
        day = following


def _by_days(spec: SqlSource, backend: str) -> bool:
    """Return whether a query can only compare the day of a time stamp."""
    form = spec.time.format or (_DATE if backend == "sqlite" else "")
    return len(spec.time.columns) > 1 or (form not in ("", "%s") and _resolution(form) == _DAY)


def _written(spec: SqlSource, backend: str, at: datetime) -> Bound:
    form = spec.time.format or (_DATE if backend == "sqlite" else "")
    if form == "%s":
        return -int((_EPOCH - at) // timedelta(seconds=1))
    if form:
        unit = _resolution(form)
        clock = at.replace(tzinfo=None)
        return (clock + (_CLOCK - clock) % unit).strftime(form)
    return at if backend == "postgresql" else at.replace(tzinfo=None)


def _resolution(form: str) -> timedelta:
    """Return the resolution of a time format."""
    units = (_TICK, timedelta(seconds=1), timedelta(minutes=1), _HOUR)
    return next((unit for unit in units if (_CLOCK + unit).strftime(form) != _CLOCK.strftime(form)), _DAY)


def _slack(spec: SqlSource) -> timedelta:
    """Return how much earlier than its valid time, or the start of its period, a row can be stamped."""
    slack = spec.time.resample
    if spec.time.zone != "UTC":  # a day may have 25 hours
        slack += _HOUR
    if spec.time.day_starts or spec.time.hours == "1-24":
        slack += _DAY
    return slack
