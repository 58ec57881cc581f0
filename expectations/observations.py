"""What observations must satisfy before they are stored: a contract, and the words of every refusal.

Two kinds of checks: of rows, each of which passes or not, and of the batch as a whole. A check reads one column of a
frame; where the column is not part of the rows it is derived before (`off_grid`, the measures of series).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Severity = Literal["row", "batch", "warn"]
"""What a broken check means: the row is refused, the batch is refused, or a warning is kept."""
RowKind = Literal[
    "rows", "present", "location", "grid", "past", "future", "limits", "known", "stuck", "jump", "buddy", "unique"
]
BatchKind = Literal["unit_change", "drift", "completeness", "order", "freshness"]
Kind = RowKind | BatchKind | Literal["custom"]

TIME, LOCATION, KNOWN, OFF_GRID, EARLY = "valid_time", "location", "known_at", "off_grid_us", "early_us"
"""Columns of a batch; the last two are derived: microseconds past the last point of the time grid, and microseconds
by which a value was known before its time."""
_LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold, and what is said of a row where it does not."""

    kind: Kind
    column: str
    """Column whose values the check reads."""
    template: str
    """Reason for a refused row; ``{value}`` stands for what the row has."""
    low: float | datetime | None = None
    high: float | datetime | None = None
    severity: Severity = "row"
    values: tuple[str, ...] = ()
    """What the column may hold, for `location`."""
    columns: tuple[str, ...] = ()
    """What makes up a key, for `unique`."""
    expectation: str = ""
    """Type of a further expectation, for `custom`."""
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def reason(self, value: object) -> str:
        """Return why a row with this value is refused."""
        shown = f"{value:.10g}" if isinstance(value, float) else str(value)
        return self.template.replace("{value}", shown)


@dataclass(frozen=True, slots=True)
class VariableLimits:
    """The values of one variable that can be meant, in its unit; None is open, yet never infinite."""

    name: str
    units: str
    low: float | None = None
    high: float | None = None

    @property
    def unit(self) -> str:
        """The unit as words have it after a number, with a blank before it; nothing for a plain number."""
        return "" if self.units == "1" else f" {self.units}"

    def bounds(self) -> tuple[float, float]:
        """Return the smallest and the largest value that can be meant, both finite."""
        return -_LARGEST if self.low is None else self.low, _LARGEST if self.high is None else self.high

    def check(self, severity: Severity = "row") -> Check:
        """Return the check that each value is null, or finite and within the limits."""
        if self.low is not None and self.high is not None:
            fault = f"is outside {self.low:g} to {self.high:g}"
        elif self.low is not None:
            fault = f"is below {self.low:g} or not finite"
        elif self.high is not None:
            fault = f"is above {self.high:g} or not finite"
        else:
            fault = "is not finite"
        low, high = self.bounds()
        return Check("limits", self.name, f"{self.name} {{value}}{self.unit} {fault}", low, high, severity)


_MEASURES: dict[RowKind, str] = {
    "stuck": "a value stays the same for too long",
    "jump": "a value changes too much in a step",
    "buddy": "a value is not borne out by its neighbours",
}
_BATCH: dict[BatchKind, str] = {
    "unit_change": "values agree with the recent ones only in another unit",
    "drift": "values are spread otherwise than in the last weeks",
    "completeness": "rows are missing that the step lets expect",
    "order": "times go back from row to row",
    "freshness": "the newest value is late",
}

MEASURES: frozenset[Kind] = frozenset([*_MEASURES, *_BATCH])
"""Checks that read a measure, not what rows have; its column is named as the check."""


@dataclass(frozen=True, slots=True)
class ObservationContract:
    """What one feed promises of every batch of rows."""

    stations: tuple[str, ...]
    variables: tuple[VariableLimits, ...]
    step: timedelta
    now: datetime
    """Instant of the check."""
    tolerance: timedelta
    """How far after `now` a valid time may lie; clocks differ."""
    phase: timedelta = timedelta(0)
    """Where the time grid starts, counted from the epoch in UTC."""
    oldest: datetime = datetime(1850, 1, 1, tzinfo=UTC)
    """Earliest valid time that can be meant."""
    known: bool = False
    """Whether rows say when they became known, so that keys have it too."""
    foretold: bool = False
    """Whether values may be known before their time, as those of a weather forecast."""
    severity: Mapping[Kind, Severity] = field(default_factory=dict)
    """How severe a broken check is; those of rows that are not named refuse the row."""
    measured: tuple[RowKind, ...] = ()
    """Checks of series to carry out, of stuck, jump and buddy; their measure is 1 at what is allowed."""
    custom: tuple[Check, ...] = ()
    """Further expectations."""

    @property
    def latest(self) -> datetime:
        """The latest valid time that can be meant."""
        return self.now + self.tolerance

    @property
    def key(self) -> tuple[str, ...]:
        """Columns that tell rows apart."""
        return (TIME, LOCATION, KNOWN) if self.known else (TIME, LOCATION)

    def checks(self) -> tuple[Check, ...]:
        """Return everything that must hold of rows, in the order in which reasons are told."""
        every = f"{self.step.total_seconds():g} s"
        grid, past, future = self._of("grid"), self._of("past"), self._of("future")
        return (
            Check("rows", TIME, "the batch has no rows", severity="batch"),
            Check("present", TIME, "valid_time is missing"),
            Check("present", LOCATION, "location is missing"),
            Check(
                "location",
                LOCATION,
                "location '{value}' is no station of the feed",
                severity=self._of("location"),
                values=self.stations,
            ),
            Check(
                "grid", OFF_GRID, f"valid_time {{value}} is off the grid of one every {every}", 0.0, 0.0, severity=grid
            ),
            Check("past", TIME, f"valid_time {{value}} is before {_told(self.oldest)}", self.oldest, None, past),
            Check(
                "future",
                TIME,
                f"valid_time {{value}} is in the future, after {_told(self.latest)}",
                None,
                self.latest,
                future,
            ),
            *self._known(),
            *(variable.check(self._of("limits")) for variable in self.variables),
            *(Check(kind, kind, _MEASURES[kind], None, 1.0, self._of(kind)) for kind in self.measured),
            *self.custom,
            Check(
                "unique",
                TIME,
                "duplicate key, a later row of the payload differs",
                severity=self._of("unique"),
                columns=self.key,
            ),
        )

    def _known(self) -> tuple[Check, ...]:
        if not self.known:
            return ()
        severity = self._of("known")
        low, high = _told(self.oldest), _told(self.now + self.step)
        early = Check(
            "known", EARLY, "known_at {value} is before the valid_time", None, float(self.step.total_seconds() * 1e6)
        )
        return (
            Check("present", KNOWN, "known_at is missing"),
            Check(
                "known",
                KNOWN,
                f"known_at {{value}} is outside {low} to {high}",
                self.oldest,
                self.now + self.step,
                severity,
            ),
            *(() if self.foretold else (early,)),
        )

    def _of(self, kind: Kind) -> Severity:
        return self.severity.get(kind, "row")


def batch_check(kind: BatchKind, severity: Severity, *, low: float | None = None, high: float | None = None) -> Check:
    """Return a check of the batch as a whole; its measure stands in a column named as the kind."""
    return Check(kind, kind, _BATCH[kind], low, high, severity)


def off_grid(times: NDArray[np.datetime64], step: timedelta, phase: timedelta = timedelta(0)) -> NDArray[np.int64]:
    """Return microseconds of each UTC time past the last point of the grid; 0 where there is no time."""
    past = times.astype("datetime64[us]").astype(np.int64) - round(phase / timedelta(microseconds=1))
    return np.where(np.isnat(times), 0, past % round(step / timedelta(microseconds=1)))


def _told(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
