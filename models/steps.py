"""Calendar steps: time steps that begin at midnight of a zone and differ in length.

It imports numpy only where used, since a product file is read without it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, get_args
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Unit = Literal["day", "week", "month", "quarter"]

PATTERN = r"^(day|week|month|quarter)(?: in ([A-Za-z][A-Za-z0-9_+/-]*))?$"
_EPOCH = date(1970, 1, 1).toordinal()
_MONDAY = 3  # 1970-01-01 was a Thursday
_YEAR_DAYS = 365.2425
_DAYS = {"day": 1.0, "week": 7.0, "month": _YEAR_DAYS / 12, "quarter": _YEAR_DAYS / 4}
_LONGEST_DAYS = {"day": 1, "week": 7, "month": 31, "quarter": 92}
_CLOCK_CHANGE = timedelta(hours=2)
# Twelve years hold every sequence of lengths of months, and the clock changes of a zone.
_SAMPLE = date(2000, 1, 1), date(2012, 1, 1)


@dataclass(frozen=True, slots=True)
class CalendarStep:
    """A local day, an ISO week (from Monday), a month or a quarter of a year, in a time zone.

    Steps are numbered in order of time; number 0 contains 1970-01-01 of the zone. Step n covers the instants from its
    start to the start of step n + 1, which is where the clocks of the zone first show midnight; a local day has 23 to
    25 hours where clocks change. No instant lies in two steps, and none in no step.
    """

    unit: Unit
    zone: str = "UTC"
    """IANA name."""

    @classmethod
    def parse(cls, text: str) -> CalendarStep:
        """Return the step that text such as ``month`` or ``day in Europe/Dublin`` names; without a zone, of UTC.

        Raises:
            ValueError: the text names none.
        """
        match = re.fullmatch(PATTERN, text)
        if match is None:
            raise ValueError(f"{text!r} is not a calendar step; write one of {', '.join(get_args(Unit))}")
        return cls(match[1], match[2] or "UTC")  # type: ignore[arg-type]

    def __str__(self) -> str:
        return self.unit if self.zone == "UTC" else f"{self.unit} in {self.zone}"

    @property
    def mean(self) -> timedelta:
        """Mean length, a whole number of seconds; a year has 12 months or 4 quarters."""
        return timedelta(days=_DAYS[self.unit])

    @property
    def longest(self) -> timedelta:
        """A length that no step exceeds."""
        return timedelta(days=_LONGEST_DAYS[self.unit]) + (timedelta(0) if self.zone == "UTC" else _CLOCK_CHANGE)

    def number(self, instant: datetime) -> int:
        """Return the number of the step that contains an instant."""
        found = self._number_of_date(instant.astimezone(ZoneInfo(self.zone)).date())
        while self.start(found + 1) <= instant:  # clocks that go back over midnight show a date twice
            found += 1
        while self.start(found) > instant:
            found -= 1
        return found

    def start(self, number: int) -> datetime:
        """Return the start of a step, in UTC."""
        return _midnight(self._first_date(number), ZoneInfo(self.zone))

    def floor(self, instant: datetime) -> datetime:
        """Return the start of the step that contains an instant, in UTC."""
        return self.start(self.number(instant))

    def numbers(self, times: NDArray[np.datetime64]) -> NDArray[np.int64]:
        """Return the number of the step that contains each time; times are in UTC, none is missing."""
        import numpy as np

        found = self.numbers_of_dates(times)
        if self.zone == "UTC" or not found.size:
            return found
        first, last = int(found.min()) - 1, int(found.max()) + 2  # a zone is less than a day from UTC
        starts = self.starts(np.arange(first, last + 1))
        return first - 1 + np.searchsorted(starts, times.astype("datetime64[us]"), side="right")

    def numbers_of_dates(self, local: NDArray[np.datetime64]) -> NDArray[np.int64]:
        """Return the number of the step that contains the date of each local time, none of them missing."""
        import numpy as np

        if self.unit in ("day", "week"):
            days = local.astype("datetime64[D]").astype(np.int64)
            return days if self.unit == "day" else (days + _MONDAY) // 7
        months = local.astype("datetime64[M]").astype(np.int64)
        return months if self.unit == "month" else months // 3

    def starts(self, numbers: NDArray[np.int64]) -> NDArray[np.datetime64]:
        """Return the start of each step, UTC, microseconds."""
        import numpy as np

        match self.unit:
            case "day":
                dates = numbers.astype("datetime64[D]")
            case "week":
                dates = (7 * numbers - _MONDAY).astype("datetime64[D]")
            case "month":
                dates = numbers.astype("datetime64[M]").astype("datetime64[D]")
            case "quarter":
                dates = (3 * numbers).astype("datetime64[M]").astype("datetime64[D]")
        if self.zone == "UTC":
            return dates.astype("datetime64[us]")
        zone = ZoneInfo(self.zone)
        distinct, place = np.unique(dates, return_inverse=True)
        midnights = [_midnight(one, zone).replace(tzinfo=None) for one in distinct.tolist()]
        return np.array(midnights, "datetime64[us]")[place].reshape(dates.shape)

    def most_starts(self, length: timedelta) -> int:
        """Return the largest number of steps that start within a time of this length, its first instant left out."""
        import numpy as np

        if length <= timedelta(0):
            return 0
        first, last = map(self._number_of_date, _SAMPLE)
        numbers = np.arange(first, last)
        return int((numbers - self.numbers(self.starts(numbers) - np.timedelta64(length))).max())

    def _number_of_date(self, day: date) -> int:
        match self.unit:
            case "day":
                return day.toordinal() - _EPOCH
            case "week":
                return (day.toordinal() - _EPOCH + _MONDAY) // 7
            case "month":
                return 12 * (day.year - 1970) + day.month - 1
            case "quarter":
                return 4 * (day.year - 1970) + (day.month - 1) // 3

    def _first_date(self, number: int) -> date:
        if self.unit in ("day", "week"):
            return date.fromordinal(_EPOCH + (number if self.unit == "day" else 7 * number - _MONDAY))
        year, month = divmod(number if self.unit == "month" else 3 * number, 12)
        return date(1970 + year, month + 1, 1)


@lru_cache(maxsize=1 << 16)
def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return when a date begins in a zone; where clocks skip midnight, when they do."""
    return datetime.combine(day, time(), zone).astimezone(UTC)
