"""What observations must satisfy before they are stored: the contract of a feed, and the checks that it makes.

Some checks test each row, others the batch as a whole. A check reads one column of a frame. A column that the rows lack
is derived first: the offset from the time grid (`off_grid`), and the measures of checks of series.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from expectations.reasons import Reason, cell_value, summarise

Severity = Literal["row", "batch", "warn"]
"""Consequence of a broken check: the row is refused, the batch is refused, or a warning is given."""
SeriesKind = Literal["persistence", "step", "buddy"]
BatchKind = Literal["unit_change", "drift", "completeness", "order", "freshness"]
RowKind = Literal["rows", "present", "location", "grid", "past", "future", "limits", "known", "unique", "custom"]
Kind = RowKind | SeriesKind | BatchKind

TIME, LOCATION, KNOWN, OFF_GRID, EARLY = "valid_time", "location", "known_at", "off_grid_us", "early_us"
"""Columns of a batch; the last two are derived: microseconds after the last point of the time grid, and microseconds
by which a value was known before its time."""
_LARGEST = float(np.finfo(np.float64).max)
_FAULTS: dict[SeriesKind | BatchKind, str] = {
    "persistence": "a value stays the same for too long",
    "step": "a value changes too much in one step",
    "buddy": "a value disagrees with its neighbours",
    "unit_change": "values agree with the recent ones only in another unit",
    "drift": "values are distributed differently from the last weeks",
    "completeness": "rows are missing that the step leads one to expect",
    "order": "times go back from row to row",
    "freshness": "the newest value is late",
}

MEASURES: frozenset[Kind] = frozenset(_FAULTS)
"""Checks that read a measure and not what the rows hold; its column has the name of the check."""


class CalendarGrid(Protocol):
    """A time grid whose points are not equally far apart, such as the months; its text names what lies between."""

    @property
    def longest(self) -> timedelta:
        """A length that no step exceeds."""
        ...

    def numbers(self, times: NDArray[np.datetime64]) -> NDArray[np.int64]:
        """Return the number of the grid point at or before each UTC time, none of them missing."""
        ...

    def starts(self, numbers: NDArray[np.int64]) -> NDArray[np.datetime64]:
        """Return the time of each grid point, UTC, microseconds."""
        ...


@dataclass(frozen=True, slots=True)
class Check:
    """One condition on the rows or on the batch."""

    kind: Kind
    column: str
    """Column whose values the check reads."""
    fault: str
    """What is wrong where the check is broken."""
    reason: Reason | None = None
    """Why a row is refused, yet without the value of the row; None for checks that make their own reasons."""
    low: float | datetime | None = None
    high: float | datetime | None = None
    severity: Severity = "row"
    values: tuple[str, ...] = ()
    """What the column may hold, for `location`."""
    columns: tuple[str, ...] = ()
    """Columns of the key, for `unique`."""
    expectation: str = ""
    """Type of the expectation that a product adds, for `custom`."""
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def reason_for(self, value: object) -> Reason:
        """Return why a row with this value is refused."""
        if self.reason is None:
            raise ValueError(f"the check {self.kind} refuses no single rows")
        return replace(self.reason, value=cell_value(value))


@dataclass(frozen=True, slots=True)
class VariableLimits:
    """The range of one variable in its unit; None is open, but a value is always finite."""

    name: str
    units: str
    low: float | None = None
    high: float | None = None

    @property
    def unit(self) -> str:
        """The unit as it follows a number; empty for a plain number."""
        return "" if self.units == "1" else self.units

    def bounds(self) -> tuple[float, float]:
        """Return the smallest and the largest value allowed, both finite."""
        return -_LARGEST if self.low is None else self.low, _LARGEST if self.high is None else self.high

    def check(self, severity: Severity = "row") -> Check:
        """Return the check that each value is null, or finite and within the limits."""
        low, high = self.bounds()
        reason = Reason("limits", self.name, unit=self.unit, low=self.low, high=self.high)
        return _row_check("limits", self.name, reason, low, high, severity)


@dataclass(frozen=True, slots=True)
class ObservationContract:
    """What every batch of rows of a feed must satisfy."""

    stations: tuple[str, ...]
    variables: tuple[VariableLimits, ...]
    step: timedelta | CalendarGrid
    now: datetime
    """Time of the check."""
    tolerance: timedelta
    """How far after `now` a valid time may lie, because clocks differ."""
    phase: timedelta = timedelta(0)
    """Start of a time grid of a fixed step, counted from the epoch in UTC."""
    oldest: datetime = datetime(1850, 1, 1, tzinfo=UTC)
    """Earliest valid time allowed."""
    known: bool = False
    """Whether rows have a column `known_at`, which is then part of the key."""
    forecasts: bool = False
    """Whether values may be known before their time, as those of a weather model are."""
    severity: Mapping[Kind, Severity] = field(default_factory=dict)
    """Severity by kind; a kind that is missing refuses the row."""
    series_checks: tuple[SeriesKind, ...] = ()
    """Checks of series to carry out; their measure is 1 at what is allowed."""
    custom: tuple[Check, ...] = ()
    """Expectations that the product adds."""

    @property
    def latest(self) -> datetime:
        """The latest valid time allowed."""
        return self.now + self.tolerance

    @property
    def key(self) -> tuple[str, ...]:
        """Columns that identify a row."""
        return (TIME, LOCATION, KNOWN) if self.known else (TIME, LOCATION)

    def checks(self) -> tuple[Check, ...]:
        """Return all checks of rows, in the order in which the reasons of a row are listed."""
        oldest, latest = _text(self.oldest), _text(self.latest)
        every = f"{self.step.total_seconds():g} s" if isinstance(self.step, timedelta) else str(self.step)
        grid = Reason("grid", TIME, expected=every)
        unique = Reason("unique")
        return (
            Check("rows", TIME, "the batch has no rows", severity="batch"),
            _row_check("present", TIME, Reason("missing", TIME)),
            _row_check("present", LOCATION, Reason("missing", LOCATION)),
            replace(
                _row_check("location", LOCATION, Reason("location"), severity=self._of("location")),
                values=self.stations,
            ),
            _row_check("grid", OFF_GRID, grid, 0.0, 0.0, self._of("grid")),
            _row_check("past", TIME, Reason("past", TIME, low=oldest), self.oldest, None, self._of("past")),
            _row_check("future", TIME, Reason("future", TIME, high=latest), None, self.latest, self._of("future")),
            *self._known(),
            *(variable.check(self._of("limits")) for variable in self.variables),
            *(Check(kind, kind, _FAULTS[kind], high=1.0, severity=self._of(kind)) for kind in self.series_checks),
            *self.custom,
            replace(_row_check("unique", TIME, unique, severity=self._of("unique")), columns=self.key),
        )

    def _known(self) -> tuple[Check, ...]:
        if not self.known:
            return ()
        longest = self.step if isinstance(self.step, timedelta) else self.step.longest
        low, high = self.oldest, self.now + longest
        outside = Reason("known", KNOWN, low=_text(low), high=_text(high))
        step = longest / timedelta(microseconds=1)
        return (
            _row_check("present", KNOWN, Reason("missing", KNOWN)),
            _row_check("known", KNOWN, outside, low, high, self._of("known")),
            *(() if self.forecasts else (_row_check("known", EARLY, Reason("early", KNOWN), None, step),)),
        )

    def _of(self, kind: Kind) -> Severity:
        return self.severity.get(kind, "row")


def batch_check(kind: BatchKind, severity: Severity, *, low: float | None = None, high: float | None = None) -> Check:
    """Return a check of the batch as a whole; its measure is in a column with the name of the kind."""
    return Check(kind, kind, _FAULTS[kind], None, low, high, severity)


def off_grid(
    times: NDArray[np.datetime64], step: timedelta | CalendarGrid, phase: timedelta = timedelta(0)
) -> NDArray[np.int64]:
    """Return microseconds from the last point of the time grid to each UTC time; 0 for NaT."""
    if not isinstance(step, timedelta):
        past, timed = np.zeros(times.shape, np.int64), ~np.isnat(times)
        known = times[timed].astype("datetime64[us]")
        past[timed] = (known - step.starts(step.numbers(known))).astype(np.int64)
        return past
    past = times.astype("datetime64[us]").astype(np.int64) - round(phase / timedelta(microseconds=1))
    return np.where(np.isnat(times), 0, past % round(step / timedelta(microseconds=1)))


def _row_check(
    kind: RowKind,
    column: str,
    reason: Reason,
    low: float | datetime | None = None,
    high: float | datetime | None = None,
    severity: Severity = "row",
) -> Check:
    return Check(kind, column, summarise([reason]), reason, low, high, severity)


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
