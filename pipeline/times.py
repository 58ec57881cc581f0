"""Instants: parsing them, the grid of valid times, and the issue times that a schedule names. Everything is UTC."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

import numpy as np
from cronsim import CronSim

from pipeline.config.product import Product
from pipeline.errors import UsageError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_instant(text: str) -> datetime:
    """Return the UTC instant that ISO 8601 text names; without an offset it is UTC.

    Raises:
        UsageError: the text is no instant.
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no instant; write e.g. 1978-12-14 or 1978-12-14T06:00Z") from None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def stamp(instant: datetime) -> str:
    """Return the instant as a sortable name that is safe in paths, e.g. 19781214T070000Z."""
    return instant.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def as_numpy(instant: datetime) -> np.datetime64:
    """Return the instant as numpy UTC microseconds."""
    return np.datetime64(instant.astimezone(UTC).replace(tzinfo=None), "us")


def as_datetime(instant: np.datetime64) -> datetime:
    """Return numpy UTC time as an aware datetime."""
    return EPOCH + timedelta(microseconds=int(instant.astype("datetime64[us]").astype(np.int64)))


def floor(instant: datetime, step: timedelta) -> datetime:
    """Return the latest point of the grid of `step`, counted from the epoch, that is not after the instant."""
    return instant - (instant - EPOCH) % step


def latest_of(cron: str, time_zone: str, now: datetime) -> datetime:
    """Return the last instant of a cron line that is not after `now`."""
    # From inside the hour that autumn doubles, CronSim backwards misses what came in it: it starts well after.
    local = (now + timedelta(hours=3)).astimezone(ZoneInfo(time_zone))
    instants = (instant.astimezone(UTC) for instant in CronSim(cron, local, reverse=True))
    return next(instant for instant in instants if instant <= now)


@dataclass(frozen=True)
class Cadence:
    """How valid times, publication delay and issue times of a product relate.

    A forecast issued at t rests on frames up to ``origin(t)``, the newest one that the delay lets be known, and tells
    the ``horizon`` frames after t. Where the delay exceeds a step, the frames between origin and t, the gap, are
    forecast too and then left out.
    """

    step: timedelta
    delay: timedelta
    horizon: int
    cron: str
    time_zone: str

    @classmethod
    def of(cls, product: Product) -> Cadence:
        """Return the cadence of a product."""
        feed, schedule = product.feed, product.schedule
        return cls(feed.step, feed.delay, product.forecast.horizon, schedule.forecast, schedule.time_zone)

    @cached_property
    def leads(self) -> int:
        """Frames after the origin that a model must forecast so that every issue time has its horizon."""
        return self._largest_gap() + self.horizon

    def _largest_gap(self) -> int:
        always_enough = -(-self.delay // self.step)
        if self.step > timedelta(days=1) or self.time_zone != "UTC":  # spring moves issue times to odd instants
            return always_enough
        first = datetime(2000, 1, 1, tzinfo=UTC)
        return max(map(self.gap, self.issues(first, first + timedelta(days=8))), default=always_enough)

    def origin(self, issue_time: datetime) -> datetime:
        """Return the newest valid time that the delay lets be known at the issue time."""
        return floor(issue_time - self.delay, self.step)

    def gap(self, issue_time: datetime) -> int:
        """Return how many frames lie after the origin but not after the issue time."""
        return (issue_time - self.origin(issue_time)) // self.step

    def lead_times(self, issue_time: datetime) -> list[datetime]:
        """Return the valid times forecast at an issue time, ascending."""
        first = self.origin(issue_time) + (self.gap(issue_time) + 1) * self.step
        return [first + n * self.step for n in range(self.horizon)]

    def latest_issue(self, now: datetime) -> datetime:
        """Return the last issue time that is not after `now`."""
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
    """Yield the calendar months of a range, UTC, as windows that include both of their ends."""
    begin = since.astimezone(UTC)
    while begin <= until:
        after = (begin.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(day=1)
        yield begin, min(after - timedelta(microseconds=1), until)
        begin = after


def parse_optional(text: str | None) -> datetime | None:
    """Return the instant of ISO 8601 text, or None where there is no text.

    Raises:
        UsageError: the text is no instant.
    """
    return None if text is None else parse_instant(text)
