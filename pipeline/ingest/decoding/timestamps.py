"""Valid times in UTC from the time stamps of a payload: labels, zones, daylight saving, service days.

For time stamps without an offset, a day begins at ``day_starts``, an ambiguous hour in autumn is resolved by the order
of rows (see `time_zones`), and an hour that does not exist in spring is refused. A time stamp with an offset is an
instant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from expectations.observations import off_grid
from expectations.reasons import Reason
from pipeline.config import TimeStamps
from pipeline.ingest.decoding.cells import is_text
from pipeline.ingest.decoding.time_zones import Instants, to_utc
from pipeline.ingest.decoding.timestamp_parsing import HOUR, Times, parse_times, since_midnight
from pipeline.steps import CalendarStep, Step

EARLIEST, LATEST = np.datetime64("1700-01-01", "us"), np.datetime64("2262-01-01", "us")
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ValidTimes:
    """The valid times of payload rows."""

    valid_time: Times
    """UTC, microseconds, the end of the period; NaT where the time stamp is refused."""
    reasons: dict[int, Reason]
    """Why, by row, for every NaT in `valid_time`."""
    notes: tuple[str, ...] = ()
    """Assumptions made where the payload is ambiguous, a sentence each."""


def read_valid_times(
    table: pa.Table, spec: TimeStamps, step: Step, *, groups: NDArray[np.int64] | None = None
) -> ValidTimes:
    """Return the valid time of every row of a payload.

    For a calendar step it is the end of the step that contains the time stamp. If the source labels periods by their
    end, a time stamp at the very start of a step belongs to the step before. Irregular times that are resampled stay as
    they are.

    `groups` is the number from 0 of the series, such as a location, of each row; without it all rows are one series.
    The order of its rows resolves ambiguous hours in autumn.

    Raises:
        ContractError: a time column holds neither text nor times, or numbers that cannot be part of a date.
    """
    if isinstance(step, CalendarStep):
        table, spec = _with_days(table, spec, step)
    parsed = parse_times(table, spec)
    local, instants = parsed.local, parsed.instants
    unread = np.isnat(local) & np.isnat(instants)
    early = since_midnight(local) < np.timedelta64(spec.day_starts)
    local = np.where(early, local + np.timedelta64(_DAY), local)

    groups = np.zeros(len(table), np.int64) if groups is None else groups
    if isinstance(step, CalendarStep):
        whole_days = True
        read, instants = _by_calendar(local, instants, spec, step, groups)
    else:
        whole_days = not step % _DAY
        read, instants = _by_duration(local, instants, spec, step, groups)
    valid_time = np.where(np.isnat(instants), read.utc, instants)

    columns = [table.column(name) for name in spec.columns]
    reasons = {int(row): _invalid(spec, columns, int(row)) for row in np.flatnonzero(unread)}
    for row in np.flatnonzero(read.skipped):
        reasons[int(row)] = Reason("nonexistent_time", value=_shown_time(local[row]), expected=spec.zone)
    for row in np.flatnonzero((valid_time < EARLIEST) | (valid_time >= LATEST)):
        reasons[int(row)] = Reason("time_out_of_range", value=_shown(columns, int(row)))
        valid_time[row] = np.datetime64("NaT")
    guessed = np.flatnonzero(read.guessed & ~np.isnat(valid_time) & (not whole_days))
    return ValidTimes(valid_time, reasons, (_note_ambiguous(local[guessed], spec.zone),) if len(guessed) else ())


def _by_duration(
    local: Times, instants: Times, spec: TimeStamps, step: timedelta, groups: NDArray[np.int64]
) -> tuple[Instants, Times]:
    """Return the valid times of local times and of instants, for a step of a fixed length."""
    starts, whole_days, by_end = spec.label == "start", not step % _DAY, spec.hours == "1-24"
    if starts and whole_days:  # a day ends at the next local midnight, 23 to 25 hours on
        local = local + np.timedelta64(step)
    ends = np.timedelta64(step) if starts and not whole_days else HOUR if by_end else np.timedelta64(0, "us")

    def possible(utc: Times) -> NDArray[np.bool_]:
        regular = not spec.resample and not whole_days
        return off_grid(utc + ends, step) == 0 if regular else np.ones(len(utc), np.bool_)

    read = to_utc(local, spec.zone, groups, possible)
    read = replace(read, utc=read.utc + ends)
    return read, instants + np.timedelta64(step) if starts else instants


def _by_calendar(
    local: Times, instants: Times, spec: TimeStamps, step: CalendarStep, groups: NDArray[np.int64]
) -> tuple[Instants, Times]:
    """Return the valid times of local times and of instants, for a calendar step."""
    if spec.hours == "1-24":
        local = local + HOUR
    if spec.zone == step.zone and not spec.resample:  # the date decides, whatever its clocks do
        none = np.zeros(len(local), np.bool_)
        ends = _ends(local, spec, step, step.numbers_of_dates)
        return Instants(ends, none, none), _ends(instants, spec, step, step.numbers)
    read = to_utc(local, spec.zone, groups, lambda utc: np.ones(len(utc), np.bool_))
    if spec.resample:
        return read, instants
    return replace(read, utc=_ends(read.utc, spec, step, step.numbers)), _ends(instants, spec, step, step.numbers)


def _ends(times: Times, spec: TimeStamps, step: CalendarStep, numbers: Callable[[Times], NDArray[np.int64]]) -> Times:
    """Return the end of the step, by its number, that each time means; times out of range stay as they are."""
    within = times - np.timedelta64(1, "us") if spec.label == "end" else times
    usable = (within >= EARLIEST) & (within < LATEST)  # false where missing
    ends = times.copy()
    ends[usable] = step.starts(numbers(within[usable]) + 1)
    return ends


def _with_days(table: pa.Table, spec: TimeStamps, step: CalendarStep) -> tuple[pa.Table, TimeStamps]:
    """Return a table whose time stamps have a day: the first of the month where they name only that, or a quarter."""
    if step.unit not in ("month", "quarter") or spec.format:
        return table, spec
    name = spec.columns[0]
    if len(spec.columns) == 2 and spec.hours != "1-24" and _holds_years(table[name]):
        first = "day of the month"
        ones = pa.array(np.ones(len(table), np.int64))
        return table.append_column(first, ones), spec.model_copy(update={"columns": (*spec.columns, first)})
    if len(spec.columns) > 1 or not is_text(table.schema.field(name).type):
        return table, spec
    text = pc.replace_substring_regex(pc.cast(table[name], pa.string()), r"^\s*(\d{4}-\d{2})\s*$", r"\1-01")
    if step.unit == "quarter":
        for quarter in range(1, 5):
            form = rf"^\s*(\d{{4}})-?[Qq]{quarter}\s*$"
            text = pc.replace_substring_regex(text, form, rf"\1-{3 * quarter - 2:02}-01")
    return table.set_column(table.column_names.index(name), name, text), spec


def _holds_years(column: pa.ChunkedArray) -> bool:
    if not is_text(column.type):
        return bool(pa.types.is_integer(column.type) or pa.types.is_floating(column.type))
    years = pc.match_substring_regex(pc.cast(column, pa.string()), r"^\s*\d{4}\s*$")
    return bool(pc.all(years, min_count=0).as_py())


def _note_ambiguous(local: Times, zone: str) -> str:
    rows = "1 row has an ambiguous time" if len(local) == 1 else f"{len(local)} rows have ambiguous times"
    example = f"e.g. {_shown_time(local[0])}, read as the first"
    return f"{rows}: clocks in {zone} went back, and the order of rows does not resolve it, {example}"


def _invalid(spec: TimeStamps, columns: Sequence[pa.ChunkedArray], row: int) -> Reason:
    *before, last = spec.columns
    names = f"{', '.join(before)} and {last}" if before else last
    shown = _shown(columns, row)
    if not shown:
        return Reason("missing_time", names)
    return Reason("invalid_time", names, shown, expected=spec.format)


def _shown(columns: Sequence[pa.ChunkedArray], row: int) -> str:
    cells: list[Any] = [_cell(column[row]) for column in columns]
    return " ".join(str(cell) for cell in cells if cell is not None).strip()[:80]


def _cell(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):  # a time outside the years of Python
        return f"{scalar.value} {scalar.type.unit} since 1970"


def _shown_time(local: np.datetime64) -> str:
    return pd.Timestamp(local).strftime("%Y-%m-%d %H:%M")
