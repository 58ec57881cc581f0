"""What observations must satisfy before they are stored: a contract, and the words of every refusal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["rows", "present", "known", "grid", "future", "limits", "unique"]

TIME, LOCATION, OFF_GRID = "valid_time", "location", "off_grid_us"
"""Columns of a batch; the last is derived: microseconds past the last point of the time grid."""
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

    def check(self) -> Check:
        """Return the check that each value is null, or finite and within the limits."""
        if self.low is not None and self.high is not None:
            fault = f"is outside {self.low:g} to {self.high:g}"
        elif self.low is not None:
            fault = f"is below {self.low:g} or not finite"
        elif self.high is not None:
            fault = f"is above {self.high:g} or not finite"
        else:
            fault = "is not finite"
        unit = "" if self.units == "1" else f" {self.units}"
        low = -_LARGEST if self.low is None else self.low
        high = _LARGEST if self.high is None else self.high
        return Check("limits", self.name, f"{self.name} {{value}}{unit} {fault}", low, high)


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

    def checks(self) -> tuple[Check, ...]:
        """Return everything that must hold, in the order in which reasons are told."""
        latest = self.now + self.tolerance
        shown = latest.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
        every = f"{self.step.total_seconds():g} s"
        return (
            Check("rows", TIME, "the batch has no rows"),
            Check("present", TIME, "valid_time is missing"),
            Check("present", LOCATION, "location is missing"),
            Check("known", LOCATION, "location '{value}' is no station of the feed"),
            Check("grid", OFF_GRID, f"valid_time {{value}} is off the grid of one every {every}", 0.0, 0.0),
            Check("future", TIME, f"valid_time {{value}} is in the future, after {shown}", None, latest),
            *(variable.check() for variable in self.variables),
            Check("unique", TIME, "duplicate key, a later row of the payload differs"),
        )


def off_grid(times: NDArray[np.datetime64], step: timedelta, phase: timedelta = timedelta(0)) -> NDArray[np.int64]:
    """Return microseconds of each UTC time past the last point of the grid; 0 where there is no time."""
    past = times.astype("datetime64[us]").astype(np.int64) - round(phase / timedelta(microseconds=1))
    return np.where(np.isnat(times), 0, past % round(step / timedelta(microseconds=1)))
