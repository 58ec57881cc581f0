"""Time arithmetic in UTC: parsing, time steps, and the issue times of a schedule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from cronsim import CronSim

from pipeline.config.product import Product
from pipeline.errors import UsageError
from pipeline.steps import CalendarStep, Step, add, between, floor, most_starts

if TYPE_CHECKING:
    import numpy as np

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_instant(text: str) -> datetime:
    """Return the UTC time that ISO 8601 text means; text without an offset is in UTC.

    Raises:
        UsageError: the text is not a date or time.
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is not a date or time; write e.g. 1978-12-14 or 1978-12-14T06:00Z") from None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def stamp(instant: datetime) -> str:
    """Return the time as sortable text that is safe in paths, e.g. 19781214T070000Z."""
    return instant.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def as_numpy(instant: datetime) -> np.datetime64:
    """Return the time as numpy datetime64 in UTC microseconds."""
    import numpy as np

    return np.datetime64(instant.astimezone(UTC).replace(tzinfo=None), "us")


def as_datetime(instant: np.datetime64) -> datetime:
    """Return a numpy datetime64 in UTC as an aware datetime."""
    import numpy as np

    return EPOCH + timedelta(microseconds=int(instant.astype("datetime64[us]").astype(np.int64)))


def latest_of(cron: str, time_zone: str, now: datetime) -> datetime:
    """Return the latest time of a cron expression that is not after `now`."""
    # In the hour that occurs twice when clocks go back, CronSim in reverse skips times: start well after it.
    local = (now + timedelta(hours=3)).astimezone(ZoneInfo(time_zone))
    instants = (instant.astimezone(UTC) for instant in CronSim(cron, local, reverse=True))
    return next(instant for instant in instants if instant <= now)


@dataclass(frozen=True)
class Cadence:
    """The relation between valid times, publication delay and issue times of a product.

    A forecast issued at t is based on frames up to ``origin(t)``, the newest one available given the delay, and covers
    the ``horizon`` time steps after t. If the delay exceeds a step, models also forecast the frames between the origin
    and t, the gap, which are not published.
    """

    step: Step
    delay: timedelta
    horizon: int
    cron: str
    time_zone: str

    @classmethod
    def of(cls, product: Product) -> Cadence:
        """Return the cadence of a product."""
        feed, zone = product.feed, product.schedule.time_zone
        return cls(feed.step, feed.delay, product.forecast.horizon, product.cron("forecast"), zone)

    @cached_property
    def leads(self) -> int:
        """Number of time steps after the origin that a model must forecast to cover the horizon at every issue time."""
        return self._largest_gap() + self.horizon

    def _largest_gap(self) -> int:
        always_enough = most_starts(self.delay, self.step)
        if not isinstance(self.step, timedelta):
            return self._largest_calendar_gap(self.step, always_enough)
        if self.step > timedelta(days=1) or self.time_zone != "UTC":  # clock changes shift issue times
            return always_enough
        first = datetime(2000, 1, 1, tzinfo=UTC)
        return max(map(self.gap, self.issues(first, first + timedelta(days=8))), default=always_enough)

    def _largest_calendar_gap(self, step: CalendarStep, enough: int) -> int:
        """Return the largest gap at the issue times of 28 years, after which the calendar repeats; or `enough`.

        There is a gap only where a step ended less than the delay ago. Days, which are many, are not searched.
        """
        if step.unit == "day":
            return enough
        slack = timedelta(0) if step.zone == self.time_zone == "UTC" else timedelta(hours=1)  # rules of clocks change
        first, last = (step.number(datetime(year, 1, 1, tzinfo=UTC)) for year in (2024, 2052))
        largest = 0
        for start in map(step.start, range(first, last)):
            for issue in self.issues(start - slack, start + self.delay + slack):
                largest = max(largest, step.number(issue + slack) - step.number(issue - self.delay - slack))
                if largest >= enough:
                    return enough
        return largest

    def origin(self, issue_time: datetime) -> datetime:
        """Return the newest valid time that is available at the issue time, given the delay."""
        return floor(issue_time - self.delay, self.step)

    def gap(self, issue_time: datetime) -> int:
        """Return the number of time steps after the origin, up to and including the issue time."""
        return between(self.origin(issue_time), issue_time, self.step)

    def lead_times(self, issue_time: datetime) -> list[datetime]:
        """Return the valid times of a forecast, ascending."""
        origin, gap = self.origin(issue_time), self.gap(issue_time)
        return [add(origin, gap + n, self.step) for n in range(1, self.horizon + 1)]

    def latest_issue(self, now: datetime) -> datetime:
        """Return the latest issue time that is not after `now`."""
        return latest_of(self.cron, self.time_zone, now)

    def issues(self, since: datetime, until: datetime) -> Iterator[datetime]:
        """Yield the issue times in [since, until], ascending."""
        for local in CronSim(self.cron, self._local(since - timedelta(seconds=1))):
            instant = local.astimezone(UTC)
            if instant > until:
                return
            if instant >= since:
                yield instant

    def _local(self, instant: datetime) -> datetime:
        return instant.astimezone(ZoneInfo(self.time_zone))


def months(since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield the calendar months in UTC that cover a range, as (first, last) times, both inclusive."""
    begin = since.astimezone(UTC)
    while begin <= until:
        after = (begin.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(day=1)
        yield begin, min(after - timedelta(microseconds=1), until)
        begin = after
