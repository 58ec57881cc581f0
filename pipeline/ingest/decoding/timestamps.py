"""Valid times in UTC from the time stamps of a payload: labels, zones, daylight saving, service days.

For time stamps without an offset, a day begins at ``day_starts``, an ambiguous hour in autumn is resolved by the order
of rows (see `time_zones`), and an hour that does not exist in spring is refused. A time stamp with an offset is an
instant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from expectations.observations import off_grid
from expectations.reasons import Reason
from pipeline.config import TimeStamps
from pipeline.ingest.decoding.time_zones import to_utc
from pipeline.ingest.decoding.timestamp_parsing import HOUR, Times, parse_times, since_midnight

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
    table: pa.Table, spec: TimeStamps, step: timedelta, *, groups: NDArray[np.int64] | None = None
) -> ValidTimes:
    """Return the valid time of every row of a payload.

    `groups` is the number from 0 of the series, such as a location, of each row; without it all rows are one series.
    The order of its rows resolves ambiguous hours in autumn.

    Raises:
        ContractError: a time column holds neither text nor times, or numbers that cannot be part of a date.
    """
    parsed = parse_times(table, spec)
    local, instants = parsed.local, parsed.instants
    unread = np.isnat(local) & np.isnat(instants)
    early = since_midnight(local) < np.timedelta64(spec.day_starts)
    local = np.where(early, local + np.timedelta64(_DAY), local)

    starts, whole_days, by_end = spec.label == "start", not step % _DAY, spec.hours == "1-24"
    if starts and whole_days:  # a day ends at the next local midnight, 23 to 25 hours on
        local = local + np.timedelta64(step)
    ends = np.timedelta64(step) if starts and not whole_days else HOUR if by_end else np.timedelta64(0, "us")

    def possible(utc: Times) -> NDArray[np.bool_]:
        regular = not spec.resample and not whole_days
        return off_grid(utc + ends, step) == 0 if regular else np.ones(len(utc), np.bool_)

    one = np.zeros(len(table), np.int64)
    read = to_utc(local, spec.zone, one if groups is None else groups, possible)
    valid_time = read.utc + ends
    if starts:
        instants = instants + np.timedelta64(step)
    valid_time = np.where(np.isnat(instants), valid_time, instants)

    columns = [table.column(name) for name in spec.columns]
    reasons = {int(row): _invalid(spec, columns, int(row)) for row in np.flatnonzero(unread)}
    for row in np.flatnonzero(read.skipped):
        reasons[int(row)] = Reason("nonexistent_time", value=_shown_time(local[row]), expected=spec.zone)
    for row in np.flatnonzero((valid_time < EARLIEST) | (valid_time >= LATEST)):
        reasons[int(row)] = Reason("time_out_of_range", value=_shown(columns, int(row)))
        valid_time[row] = np.datetime64("NaT")
    guessed = np.flatnonzero(read.guessed & ~np.isnat(valid_time) & (not whole_days))
    return ValidTimes(valid_time, reasons, (_note_ambiguous(local[guessed], spec.zone),) if len(guessed) else ())


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
