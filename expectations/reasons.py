"""Why a row or a payload was refused: data with a kind, and the sentence that people read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

import orjson

ReasonKind = Literal[
    # decoding
    "ragged_line",
    "malformed_row",
    "missing_time",
    "missing_known_at",
    "invalid_time",
    "nonexistent_time",
    "time_out_of_range",
    "missing_variable",
    "invalid_number",
    # checks of rows
    "missing",
    "location",
    "grid",
    "past",
    "future",
    "known",
    "early",
    "limits",
    "persistence",
    "step",
    "buddy",
    "custom",
    "unique",
    # the payload as a whole, and rows that have a sentence alone because an earlier release refused them
    "payload",
    "text",
]

_SENTENCES: dict[ReasonKind, str] = {
    "ragged_line": "line {value} has {measure} columns, not {expected}",
    "malformed_row": "the row is neither an object nor a list",
    "missing_time": "{variable}: the time stamp is missing",
    "missing_known_at": "{variable} has no time stamp, so it is unknown when the row became known",
    "invalid_time": "{variable}: {quoted} is not a time stamp{format}",
    "nonexistent_time": "{value} does not exist in {expected} (clocks went forward)",
    "time_out_of_range": "{quoted} is outside the years 1700 to 2261",
    "missing_variable": "{variable}: the name of the variable is missing",
    "invalid_number": "{variable}: {quoted} is not a number",
    "missing": "{variable} is missing",
    "location": "unknown location {quoted}",
    "grid": "{variable} {value} is off the time grid, one step every {expected}",
    "past": "{variable} {value} is before {low}",
    "future": "{variable} {value} is in the future, after {high}",
    "known": "{variable} {value} is outside {low} to {high}",
    "early": "{variable} {value} is before the valid_time",
    "limits": "{variable} {value}{unit} is {limits}",
    "persistence": "{variable} {value}{unit} stays the same for {measure} values, more than {high}",
    "step": "{variable} {value}{unit} is a change of {measure} per step, more than {high}",
    "buddy": "{variable} {value}{unit} is {measure} sigmas from what its neighbours suggest, more than {high}",
    "custom": "{variable} {value} breaks {expected}",
    "unique": "duplicate key, a later row of the payload has other values",
    "payload": "the whole payload: {value}",
    "text": "{value}",
}
"""The sentence of each kind; `Reason` describes what stands in braces."""
_VARIES = "…"
_MOVING = ("past", "future", "known")
"""Kinds whose limits are instants, which move with the clock."""
_WITH_DETAIL = ("custom", "payload", "text")
"""Kinds of which one variable can have several."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that is wrong with a row, or with a payload as a whole."""

    kind: ReasonKind
    variable: str = ""
    """Variable or columns at fault."""
    value: float | str | None = None
    """What was given: a value in the unit of the store, or the text of the payload."""
    unit: str = ""
    """Unit of the value; empty for a plain number."""
    low: float | str | None = None
    high: float | str | None = None
    """Smallest and largest value allowed; None is open."""
    measure: float | None = None
    """What was measured where `high` limits something other than the value, such as the change per step."""
    expected: str = ""
    """What would have been right: a format, a time zone, a number of columns, an expectation."""

    @property
    def identity(self) -> tuple[str, ...]:
        """What tells two reasons of one row apart: neither values nor limits, which may differ the next time."""
        if self.kind in _WITH_DETAIL:
            return self.kind, self.variable, self.expected or str(self.value)
        return self.kind, self.variable

    @property
    def general(self) -> Reason:
        """The reason without what differs from row to row."""
        if self.kind in ("payload", "text"):
            return self
        low, high = (None, None) if self.kind in _MOVING else (self.low, self.high)
        return replace(self, value=None, low=low, high=high, measure=None)


def explain(reasons: Sequence[Reason]) -> str:
    """Return the reasons of one row as text, e.g. ``wind_speed 99 m s-1 is outside 0 to 60``."""
    return "; ".join(_sentence(reason) for reason in reasons)


def summarise(reasons: Sequence[Reason]) -> str:
    """Return the text of reasons for all rows that have them: what differs from row to row is ``…``."""
    return "; ".join(_sentence(reason.general) for reason in reasons)


def to_json(reasons: Sequence[Reason]) -> str:
    """Return reasons as a JSON list of objects, without the fields that have their default."""
    return orjson.dumps([_set_fields(reason) for reason in reasons]).decode()


def from_json(text: str) -> tuple[Reason, ...]:
    """Return the reasons that `to_json` wrote. A kind that only a later release knows becomes text."""
    return tuple(_read(fields) for fields in orjson.loads(text))


def cell_value(cell: object) -> float | str | None:
    """Return a cell as the value of a reason: what is not a finite number becomes text of at most 80 characters."""
    if cell is None:
        return None
    if isinstance(cell, int) and not isinstance(cell, bool):
        return cell if abs(cell) < 2**53 else str(cell)
    if isinstance(cell, float) and math.isfinite(cell):
        return float(cell)
    return str(cell).strip()[:80]


def _set_fields(reason: Reason) -> dict[str, object]:
    values = {name: getattr(reason, name) for name in _DEFAULTS}
    return {name: value for name, value in values.items() if value != _DEFAULTS[name]}


_DEFAULTS = {field.name: field.default for field in fields(Reason)}


def _read(given: dict[str, object]) -> Reason:
    if given.get("kind") in get_args(ReasonKind):
        return Reason(**{name: value for name, value in given.items() if name in _DEFAULTS})  # type: ignore[arg-type]
    return Reason("text", value=orjson.dumps(given).decode())


def _sentence(reason: Reason) -> str:
    value = _shown(reason.value)
    texts = {
        "variable": reason.variable,
        "value": value,
        "quoted": _VARIES if reason.value is None else repr(value),
        "unit": reason.unit and f" {reason.unit}",
        "low": _shown(reason.low),
        "high": _shown(reason.high),
        "limits": _limits(reason.low, reason.high),
        "measure": _shown(reason.measure, 6),
        "expected": reason.expected,
        "format": reason.expected and f" in the format {reason.expected!r}",
    }
    return _SENTENCES[reason.kind].format_map(texts)


def _shown(value: float | str | None, digits: int = 10) -> str:
    if value is None:
        return _VARIES
    return str(value) if isinstance(value, str | int) else f"{value:.{digits}g}"


def _limits(low: float | str | None, high: float | str | None) -> str:
    if low is not None and high is not None:
        return f"outside {_shown(low)} to {_shown(high)}"
    if low is not None:
        return f"below {_shown(low)} or not finite"
    return "not finite" if high is None else f"above {_shown(high)} or not finite"
