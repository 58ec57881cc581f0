"""From the time stamps of a payload to UTC valid times: labels, zones, daylight saving, service days.

The rules, for stamps without an offset: a labelled day begins at ``day_starts``; the hour that autumn doubles
is read as the first of the two; an hour that spring skips is refused. A stamp with an explicit offset is the
instant it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.config.source import TimeStamps
from pipeline.errors import ContractError
from pipeline.sources.cells import is_text, read_texts

_DATE = r"\d{4}-\d{2}-\d{2}"
_NAIVE = rf"^{_DATE}([T ]\d{{2}}(:\d{{2}}(:\d{{2}}(\.\d{{1,9}})?)?)?)?$"
_OFFSET = rf"^{_DATE}[T ]\d{{2}}(:\d{{2}}(:\d{{2}}(\.\d{{1,9}})?)?)?\s?(Z|z|[+-]\d{{2}}(:?\d{{2}})?)$"
_HOUR = r"^(?P<hour>\d{1,2})(:(?P<minute>\d{2}))?(\D.*)?$"
_FIRST, _LAST = np.datetime64("1700-01-01", "us"), np.datetime64("2262-01-01", "us")
_DAY = timedelta(days=1)

Times = NDArray[np.datetime64]


@dataclass(frozen=True, slots=True)
class Stamps:
    """The valid times of payload rows."""

    valid_time: Times
    """UTC, microseconds, the end of the period; NaT where the stamp is refused."""
    reasons: dict[int, str]
    """Why, by row, for every NaT."""


def read_stamps(table: pa.Table, spec: TimeStamps, step: timedelta) -> Stamps:
    """Return the valid time of every row of a payload.

    Raises:
        ContractError: a time column holds neither text nor times.
    """
    columns = [table.column(name) for name in spec.columns]
    local, instants = _whole(spec.columns[0], columns[0])
    if len(columns) == 2:
        local, instants = _join(local, spec.columns[1], columns[1]), _nothing(len(table))
    unread = np.isnat(local) & np.isnat(instants)
    early = _since_midnight(local) < np.timedelta64(spec.day_starts)
    local = np.where(early, local + np.timedelta64(_DAY), local)

    starts, whole_days = spec.label == "start", not step % _DAY
    if starts and whole_days:  # a day ends at the next local midnight, 23 to 25 hours on
        local = local + np.timedelta64(step)
    skipped, valid_time = _localise(local, spec.zone)
    if starts and not whole_days:
        valid_time = valid_time + np.timedelta64(step)
    if starts:
        instants = instants + np.timedelta64(step)
    valid_time = np.where(np.isnat(instants), valid_time, instants)

    reasons = {int(row): _unread(spec.columns, columns, int(row)) for row in np.flatnonzero(unread)}
    for row in np.flatnonzero(skipped):
        clock = pd.Timestamp(local[row]).strftime("%Y-%m-%d %H:%M")
        reasons[int(row)] = f"{clock} does not exist in {spec.zone} (clocks went forward)"
    for row in np.flatnonzero((valid_time < _FIRST) | (valid_time >= _LAST)):
        reasons[int(row)] = f"{_shown(columns, int(row))!r} is outside the years 1700 to 2261"
        valid_time[row] = np.datetime64("NaT")
    return Stamps(valid_time, reasons)


def _whole(name: str, column: pa.ChunkedArray) -> tuple[Times, Times]:
    """Return stamps without offset as local times, and those with one as UTC instants; NaT elsewhere."""
    kind, none = column.type, _nothing(len(column))
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        times = _microseconds(column)
        return (none, times) if getattr(kind, "tz", None) else (times, none)
    if not is_text(kind):
        raise ContractError(f"column '{name}' holds {kind}, not time stamps; write e.g. 1978-12-14T06:00Z")
    text = read_texts(column)
    fits = (pc.match_substring_regex(text, form) for form in (_NAIVE, _OFFSET))
    naive, fixed = (_parse(pc.if_else(fit, text, None)) for fit in fits)
    return naive, fixed


def _parse(text: pa.ChunkedArray) -> Times:
    series = text.to_pandas().astype("str")
    times = pd.to_datetime(series, format="ISO8601", errors="coerce", utc=True)
    return np.array(times.dt.tz_localize(None), dtype="datetime64[us]")


def _microseconds(column: pa.ChunkedArray) -> Times:
    # Finer than a microsecond is cut off; coarser units are checked for overflow.
    safe = not (pa.types.is_timestamp(column.type) and column.type.unit == "ns")
    zone = getattr(column.type, "tz", None)
    counts = pc.cast(pc.cast(column, pa.timestamp("us", tz=zone), safe=safe), pa.int64())
    absent = np.array(pc.is_null(counts).to_numpy(), dtype=np.bool_)
    times = np.array(pc.fill_null(counts, 0).to_numpy(), dtype=np.int64).view("datetime64[us]")
    return np.where(absent, np.datetime64("NaT"), times)


def _join(days: Times, name: str, column: pa.ChunkedArray) -> Times:
    """Return local times of a day column and a column whose text begins with the hour, as in 6:00-6:59."""
    if not (is_text(column.type) or pa.types.is_integer(column.type)):
        raise ContractError(f"column '{name}' holds {column.type}, not hours; write e.g. 6 or 6:00-6:59")
    parts = read_texts(column).to_pandas().astype("str").str.extract(_HOUR)
    hour, minute = (pd.to_numeric(parts[part]).to_numpy(np.float64) for part in ("hour", "minute"))
    minute = np.where(np.isnan(minute), 0.0, minute)
    good = (hour < 24) & (minute < 60) & (_since_midnight(days) == np.timedelta64(0))
    clock = np.where(good, hour * 60 + minute, 0).astype("timedelta64[m]")
    return np.where(good, days + clock, np.datetime64("NaT", "us"))


def _since_midnight(local: Times) -> NDArray[np.timedelta64]:
    midnight: Times = local.astype("datetime64[D]")
    return np.asarray(local - midnight, dtype="timedelta64[us]")


def _nothing(count: int) -> Times:
    return np.full(count, np.datetime64("NaT", "us"))


def _localise(local: Times, zone: str) -> tuple[NDArray[np.bool_], Times]:
    """Return where a local time does not exist, and the UTC times."""
    first = np.ones(len(local), np.bool_)
    aware = pd.Series(local).dt.tz_localize(zone, ambiguous=first, nonexistent="NaT")
    utc = np.array(aware.dt.tz_convert("UTC").dt.tz_localize(None), dtype="datetime64[us]")
    return np.isnat(utc) & ~np.isnat(local), utc


def _unread(names: Sequence[str], columns: Sequence[pa.ChunkedArray], row: int) -> str:
    shown = _shown(columns, row)
    where = " and ".join(names)
    return f"{where}: {shown!r} is no time stamp" if shown else f"{where}: no time stamp"


def _shown(columns: Sequence[pa.ChunkedArray], row: int) -> str:
    cells: list[Any] = [column[row].as_py() for column in columns]
    return " ".join(str(cell).strip() for cell in cells if cell is not None)[:80]
