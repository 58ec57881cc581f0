"""From the time stamps of a payload to UTC valid times: labels, zones, daylight saving, service days.

The rules, for stamps without an offset: a labelled day begins at ``day_starts``; an hour that autumn doubles is told
apart by the order of rows (see `time_zones`); an hour that spring skips is refused. A stamp with an explicit offset is
the instant it says.
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
from pipeline.ingest.decoding.timestamp_parsing import HOUR, Times, read_clock, since_midnight

EARLIEST, LATEST = np.datetime64("1700-01-01", "us"), np.datetime64("2262-01-01", "us")
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Stamps:
    """The valid times of payload rows."""

    valid_time: Times
    """UTC, microseconds, the end of the period; NaT where the stamp is refused."""
    reasons: dict[int, Reason]
    """Why, by row, for every NaT."""
    notes: tuple[str, ...] = ()
    """What was read by a rule because the payload does not tell, a sentence each."""


def read_stamps(
    table: pa.Table, spec: TimeStamps, step: timedelta, *, groups: NDArray[np.int64] | None = None
) -> Stamps:
    """Return the valid time of every row of a payload.

    `groups` numbers the series, such as locations, that rows belong to, from 0; without it they are one. Within each,
    rows tell by their order which of two equal clock times in autumn came first.

    Raises:
        ContractError: a time column holds neither text nor times, or numbers where they are no part of a date.
    """
    clock = read_clock(table, spec)
    local, instants = clock.local, clock.instants
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
    reasons = {int(row): _unread(spec, columns, int(row)) for row in np.flatnonzero(unread)}
    for row in np.flatnonzero(read.skipped):
        reasons[int(row)] = Reason("nonexistent_time", value=_shown_time(local[row]), expected=spec.zone)
    for row in np.flatnonzero((valid_time < EARLIEST) | (valid_time >= LATEST)):
        reasons[int(row)] = Reason("time_out_of_range", value=_shown(columns, int(row)))
        valid_time[row] = np.datetime64("NaT")
    guessed = np.flatnonzero(read.guessed & ~np.isnat(valid_time) & (not whole_days))
    return Stamps(valid_time, reasons, (_note(local[guessed], spec.zone),) if len(guessed) else ())


def _note(local: Times, zone: str) -> str:
    rows = "1 row has a time" if len(local) == 1 else f"{len(local)} rows have times"
    example = f"read as the first, e.g. {_shown_time(local[0])}"
    return f"{rows} that clocks in {zone} showed twice, and their order does not tell: {example}"


def _unread(spec: TimeStamps, columns: Sequence[pa.ChunkedArray], row: int) -> Reason:
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
    except (OverflowError, ValueError):  # a time that Python has no year for
        return f"{scalar.value} {scalar.type.unit} since 1970"


def _shown_time(local: np.datetime64) -> str:
    return pd.Timestamp(local).strftime("%Y-%m-%d %H:%M")
