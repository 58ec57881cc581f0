"""Reasons of rows that were refused before reasons were stored as data: read from their sentences."""

from __future__ import annotations

import re
from typing import Any

from expectations.reasons import Reason, ReasonKind

_WHOLE = "the whole payload: "
_VALUED = r"(?P<variable>\S+) (?P<value>\S+)(?: (?P<unit>.+?))? is "
_PATTERNS: tuple[tuple[ReasonKind, str], ...] = (
    ("ragged_line", r"line (?P<value>\d+) has (?P<measure>\d+) columns, not (?P<expected>\d+)"),
    ("malformed_row", r"the row is neither an object nor a list"),
    ("missing_known_at", r"(?P<variable>.+): no time stamp, so that it is not known when the row became known"),
    ("missing_time", r"(?P<variable>.+): no time stamp"),
    ("invalid_time", r"(?P<variable>.+?): (?P<value>['\"].+['\"]) is no time stamp(?: as in '(?P<expected>.+)')?"),
    ("nonexistent_time", r"(?P<value>.+) does not exist in (?P<expected>\S+) \(clocks went forward\)"),
    ("time_out_of_range", r"(?P<value>['\"].*['\"]) is outside the years 1700 to 2261"),
    ("missing_variable", r"(?P<variable>.+): no variable is named"),
    ("invalid_number", r"(?P<variable>.+?): (?P<value>.+) is no number"),
    ("missing", r"(?P<variable>valid_time|location|known_at) is missing"),
    ("location", r"location (?P<value>'.*') is no station of the feed"),
    ("grid", r"(?P<variable>valid_time) (?P<value>.+) is off the grid of one every (?P<expected>.+)"),
    ("past", r"(?P<variable>valid_time) (?P<value>.+) is before (?P<low>.+)"),
    ("future", r"(?P<variable>valid_time) (?P<value>.+) is in the future, after (?P<high>.+)"),
    ("early", r"(?P<variable>known_at) (?P<value>.+) is before the valid_time"),
    ("known", r"(?P<variable>known_at) (?P<value>.+) is outside (?P<low>.+) to (?P<high>.+)"),
    ("limits", _VALUED + r"outside (?P<low>\S+) to (?P<high>\S+)"),
    ("limits", _VALUED + r"below (?P<low>\S+) or not finite"),
    ("limits", _VALUED + r"above (?P<high>\S+) or not finite"),
    ("limits", _VALUED + r"not finite"),
    ("persistence", _VALUED + r"the same for (?P<measure>\d+) values, more than (?P<high>\S+)"),
    ("step", _VALUED + r"a change by (?P<measure>\S+) a step, more than (?P<high>\S+)"),
    ("buddy", _VALUED + r"(?P<measure>\S+) sigmas from what its neighbours let expect, more than (?P<high>\S+)"),
    ("custom", r"(?P<variable>[^\s,]+(?:, [^\s,]+)*) (?P<value>.+) breaks (?P<expected>.+)"),
    ("unique", r"duplicate key, a later row of the payload differs"),
)
_NUMBERS = ("value", "low", "high", "measure")


def parse_reasons(text: str) -> tuple[Reason, ...]:
    """Return the reasons that a sentence tells of; the sentence itself as one where a part of it is not recognised."""
    if text.startswith(_WHOLE):
        return (Reason("payload", value=text.removeprefix(_WHOLE)),)
    found = [_parse(part) for part in text.split("; ")]
    known = tuple(reason for reason in found if reason is not None)
    return known if len(known) == len(found) else (Reason("text", value=text),)


def _parse(sentence: str) -> Reason | None:
    for kind, pattern in _PATTERNS:
        if match := re.fullmatch(pattern, sentence, re.DOTALL):
            return Reason(kind, **{name: _field(name, part) for name, part in match.groupdict(default="").items()})
    return None


def _field(name: str, text: str) -> Any:
    if name not in _NUMBERS:
        return text
    try:
        return float(text)
    except ValueError:
        return text[1:-1] if text[:1] in ("'", '"') and text[-1:] == text[:1] and len(text) > 1 else text or None
