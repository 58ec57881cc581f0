"""Numbers, times, units and names as text: everything a reader sees is cleaned and formatted here."""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import UTC, datetime, timedelta

import numpy as np

from pipeline.report.data import Instant, TimeLabel
from pipeline.steps import Step, add, describe, period_name

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
UNKNOWN = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
NBSP = "\N{NO-BREAK SPACE}"
DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_LEADS = {"day": "d", "week": "wk", "month": "mo", "quarter": "qtr"}
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_UNITS = {
    "degC": "°C",
    "degree_Celsius": "°C",
    "degF": "°F",
    "degree": "°",
    "degrees": "°",
    "percent": "%",
    "1": "",
}
_BIDI = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C])
_FORMULA_STARTS = ("=", "+", "-", "@")


def clean(text: object) -> str:
    """Return one line of text without control characters, lone surrogates and bidirectional marks."""
    kept = "".join(" " if c in "\t\r\n\v\f" else c for c in str(text).translate(_BIDI))
    return "".join(c for c in kept if unicodedata.category(c) not in ("Cc", "Cs") and c not in "\ufffe\uffff")


def shown_name(name: str) -> str:
    """Return a name that stays text in a spreadsheet: a formula gets an apostrophe in front."""
    text = clean(name).strip()
    return "'" + text if text.startswith(_FORMULA_STARTS) else text


def shorten(text: str, most: int) -> str:
    """Return at most `most` characters, ending in an ellipsis if the text was longer."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def units_text(units: str) -> str:
    """Return units as printed: "m s⁻¹" for "m s-1", "°C" for "degC"."""
    text = clean(units)
    if text in _UNITS:
        return _UNITS[text]
    return re.sub(r"(?<=[A-Za-z°])-?\d+", lambda found: found.group().translate(_SUPERSCRIPTS), text)


def decimals_for(spread: float) -> int:
    """Return the decimals to show for values up to `spread`: 0 from 100, 1 from 1, 2 from 0.1, and so on."""
    if not math.isfinite(spread) or spread <= 0:
        return 1
    return 0 if spread >= 100 else min(6, 1 + max(0, -math.floor(math.log10(spread) + 1e-9)))


def number(value: float, decimals: int) -> str:
    """Return a number with a minus sign and grouped thousands, or a dash if it is not finite."""
    if not math.isfinite(value):
        return UNKNOWN
    text = f"{value:,.{decimals}f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    if float(text.replace("\N{NARROW NO-BREAK SPACE}", "")) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def quantity(value: float, decimals: int, units: str) -> str:
    """Return a number with its units, joined by a no-break space."""
    printed = units_text(units).replace(" ", NBSP)
    return f"{number(value, decimals)}{NBSP}{printed}" if printed else number(value, decimals)


def percent(share: float, *, sign: bool = False, decimals: int = 0) -> str:
    """Return a share as percent, by default whole, such as "12 %"; with `sign`, such as "+12 %"."""
    if not math.isfinite(share):
        return UNKNOWN
    text = number(100 * share, decimals)
    return f"+{text}{NBSP}%" if sign and round(100 * share, decimals) > 0 else f"{text}{NBSP}%"


def utc(time: Instant) -> datetime:
    """Return the instant as a datetime in UTC; a naive one counts as UTC."""
    if isinstance(time, np.datetime64):
        return EPOCH + timedelta(microseconds=int(time.astype("datetime64[us]").astype(np.int64)))
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def day_text(time: Instant) -> str:
    """Return such as "14 Dec"."""
    at = utc(time)
    return f"{at.day} {MONTHS[at.month - 1]}"


def instant_text(time: Instant | None) -> str:
    """Return such as "14 Dec 1978 07:00 UTC"; "unknown" for None."""
    if time is None:
        return "unknown"
    at = utc(time)
    return f"{day_text(at)} {at.year} {at:%H:%M} UTC"


def whole_days(step: Step) -> bool:
    """Return whether a step is one or more whole days, or a calendar step."""
    return not isinstance(step, timedelta) or (step >= DAY and step % DAY == timedelta(0))


def drawn_at(valid_time: Instant, step: Step, label: TimeLabel) -> datetime:
    """Return the instant at which a chart shows a value: the middle of its period, or with "end" its valid time."""
    at = utc(valid_time)
    if not isinstance(step, timedelta):
        return at - (at - add(at, -1, step)) / 2
    return at - (step / 2 if label == "start" else timedelta(0))


def period_text(valid_time: Instant, step: Step, label: TimeLabel) -> str:
    """Return the label of the period that ends at `valid_time`.

    With "start" and a step of one day, the value valid at 15 December 00:00 is labelled "14 Dec". A calendar step has
    its name, such as "March 2024", whatever the label.
    """
    if not isinstance(step, timedelta):
        return period_name(utc(valid_time), step)
    at = utc(valid_time) - (step if label == "start" else timedelta(0))
    if whole_days(step) and (label == "start" or (at.hour, at.minute) == (0, 0)):
        return day_text(at)
    return f"{day_text(at)} {at:%H:%M}"


def plural(count: int, one: str, many: str = "") -> str:
    """Return such as "1 station" or "12 stations"."""
    return f"{number(count, 0)} {one if count == 1 else many or one + 's'}"


def duration_text(length: timedelta) -> str:
    """Return such as "3 days", "24 hours", "1 hour 30 minutes"."""
    seconds = round(abs(length.total_seconds()))
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours >= 48:
        days, rest = divmod(hours, 24)
        return plural(days, "day") + (f" {plural(rest, 'hour')}" if rest else "")
    if hours and minutes:
        return f"{plural(hours, 'hour')} {plural(minutes, 'minute')}"
    return plural(hours, "hour") if hours else plural(minutes, "minute")


def steps_text(count: int, step: Step) -> str:
    """Return the length of some steps, such as "3 days" or "3 months"."""
    return duration_text(count * step) if isinstance(step, timedelta) else describe(count, step)


def lead_name(lead: int, step: Step) -> str:
    """Return a lead, counted in steps, such as "2 d", "17 h" or "3 mo"."""
    return lead_text(lead * step) if isinstance(step, timedelta) else f"{lead} {_LEADS[step.unit]}"


def zone_name(step: Step) -> str:
    """Return the time zone in which periods are shown."""
    return "UTC" if isinstance(step, timedelta) else step.zone


def lead_text(lead: timedelta) -> str:
    """Return such as "2 d", "17 h", "2 d 17 h", "10 min"."""
    minutes = round(lead.total_seconds() / 60)
    if minutes % 60:
        return f"{minutes} min" if minutes < 180 else f"{minutes // 60} h {minutes % 60} min"
    days, hours = divmod(minutes // 60, 24)
    if days and hours == 0:
        return f"{days} d"
    return f"{minutes // 60} h" if days < 2 else f"{days} d {hours} h"


def listed(items: list[str]) -> str:
    """Return such as "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""
