"""Parsing of time columns: local times, and instants where a time stamp has an offset."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.config import TimeStamps
from pipeline.errors import ContractError
from pipeline.ingest.decoding.cells import encode, is_text, read_numbers, read_texts

Times = NDArray[np.datetime64]

NAT = np.datetime64("NaT", "us")
_DATE = r"\d{4}-\d{2}-\d{2}"
_NAIVE = rf"^{_DATE}([T ]\d{{2}}(:\d{{2}}(:\d{{2}}(\.\d{{1,9}})?)?)?)?$"
_OFFSET = rf"^{_DATE}[T ]\d{{2}}(:\d{{2}}(:\d{{2}}(\.\d{{1,9}})?)?)?\s?(Z|z|[+-]\d{{2}}(:?\d{{2}})?)$"
_HOUR = r"^(?P<hour>\d{1,2})(:(?P<minute>\d{2}))?(\D.*)?$"
_LATEST_SECOND = 2.0**38  # some 8,700 years; the years that are allowed are checked later
HOUR = np.timedelta64(1, "h")


@dataclass(frozen=True, slots=True)
class ParsedTimes:
    """The times of payload rows; microseconds, NaT for none."""

    local: Times
    """Time stamps without an offset. An hour named by its end is given by its start."""
    instants: Times
    """Time stamps with an offset, in UTC."""


def parse_times(table: pa.Table, spec: TimeStamps) -> ParsedTimes:
    """Return the times in the time columns.

    Raises:
        ContractError: a time column holds values that cannot be part of a time stamp.
    """
    columns = [table.column(name) for name in spec.columns]
    if spec.format == "%s":
        return ParsedTimes(_nothing(len(table)), _since_1970(spec.columns[0], columns[0]))
    if spec.format:
        return _formatted(spec, columns)
    if len(columns) == 1:
        return _whole(spec.columns[0], columns[0])
    if len(columns) == 2:
        days = _whole(spec.columns[0], columns[0]).local
        return ParsedTimes(_add_hours(days, spec, columns[1]), _nothing(len(table)))
    return ParsedTimes(_from_numbers(spec, columns), _nothing(len(table)))


def since_midnight(local: Times) -> NDArray[np.timedelta64]:
    """Return the time of day of local times."""
    midnight: Times = local.astype("datetime64[D]")
    return np.asarray(local - midnight, dtype="timedelta64[us]")


def _whole(name: str, column: pa.ChunkedArray) -> ParsedTimes:
    kind, none = column.type, _nothing(len(column))
    if pa.types.is_dictionary(kind) and not is_text(kind):
        kind, column = kind.value_type, pc.cast(column, kind.value_type)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        times = _microseconds(column)
        return ParsedTimes(none, times) if getattr(kind, "tz", None) else ParsedTimes(times, none)
    if not is_text(kind):
        example = "write e.g. 1978-12-14T06:00Z, or name its format"
        raise ContractError(f"column '{name}' holds {kind}, not time stamps; {example}")
    codes, distinct = encode(read_texts(column))  # a time stamp occurs once per location
    read = _iso(distinct)
    return ParsedTimes(np.append(read.local, NAT)[codes], np.append(read.instants, NAT)[codes])


def _iso(text: pa.Array) -> ParsedTimes:
    """Return ISO 8601 time stamps, read by Arrow, which is fast and strict, if it can read all of them."""
    with suppress(pa.ArrowInvalid):
        return ParsedTimes(_microseconds(pc.cast(text, pa.timestamp("us"))), _nothing(len(text)))
    with suppress(pa.ArrowInvalid):
        return ParsedTimes(_nothing(len(text)), _microseconds(pc.cast(text, pa.timestamp("us", tz="UTC"))))
    fits = (pc.match_substring_regex(text, form) for form in (_NAIVE, _OFFSET))
    return ParsedTimes(*(_parse(pc.if_else(fit, text, None), "ISO8601") for fit in fits))


def _formatted(spec: TimeStamps, columns: list[pa.ChunkedArray]) -> ParsedTimes:
    texts = [read_texts(column, name=name) for name, column in zip(spec.columns, columns, strict=True)]
    text = texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*texts, " ")
    codes, distinct = encode(text)
    times = np.append(_parse(distinct, spec.format), NAT)[codes]
    none = _nothing(len(times))
    return ParsedTimes(none, times) if "%z" in spec.format else ParsedTimes(times, none)


def _since_1970(name: str, column: pa.ChunkedArray) -> Times:
    seconds, _ = read_numbers(name, column, ("",))
    good = np.abs(seconds) < _LATEST_SECOND
    counts = np.where(good, np.round(seconds * 1e6), 0).astype(np.int64).view("datetime64[us]")
    return np.where(good, counts, NAT)


def _parse(text: pa.Array, form: str) -> Times:
    # By pandas, because Arrow's strptime reads 31 February as 2 March.
    series = text.to_pandas().astype("str")
    times = pd.to_datetime(series, format=form, errors="coerce", utc=True)
    return np.array(times.dt.tz_localize(None), dtype="datetime64[us]")


def _microseconds(column: pa.Array | pa.ChunkedArray) -> Times:
    # Fractions of a microsecond are cut off; coarser units are checked for overflow.
    safe = not (pa.types.is_timestamp(column.type) and column.type.unit == "ns")
    zone = getattr(column.type, "tz", None)
    counts = pc.cast(pc.cast(column, pa.timestamp("us", tz=zone), safe=safe), pa.int64())
    absent = np.array(pc.is_null(counts), dtype=np.bool_)
    times = np.array(pc.fill_null(counts, 0), dtype=np.int64).view("datetime64[us]")
    return np.where(absent, NAT, times)


def _add_hours(days: Times, spec: TimeStamps, column: pa.ChunkedArray) -> Times:
    """Return local times of days and a column of hours, or of text that begins with hours as 6:00-6:59 does."""
    kind = column.type
    if pa.types.is_time(kind):
        column = pc.cast(column, pa.string())
    elif not (is_text(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise ContractError(f"column '{spec.columns[1]}' holds {kind}, not hours; write e.g. 6 or 6:00-6:59")
    codes, distinct = encode(read_texts(column))
    parts = distinct.to_pandas().astype("str").str.extract(_HOUR)
    hour, minute = (
        np.append(pd.to_numeric(parts[part]).to_numpy(np.float64), np.nan)[codes] for part in ("hour", "minute")
    )
    return _clock_time(np.where(since_midnight(days) == np.timedelta64(0), days, NAT), hour, _or_0(minute), spec)


def _from_numbers(spec: TimeStamps, columns: list[pa.ChunkedArray]) -> Times:
    """Return local times of columns of numbers: year, month, day and, if given, hour and minute."""
    read = [read_numbers(name, column, ("",))[0] for name, column in zip(spec.columns, columns, strict=True)]
    year, month, day, *clock = (np.where(part == np.floor(part), part, np.nan) for part in read)
    good = (year >= 1) & (year <= 9999) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    months = np.where(good, (year - 1970) * 12 + month - 1, 0).astype(np.int64).view("datetime64[M]")
    days = months.astype("datetime64[D]") + np.where(good, day - 1, 0).astype(np.int64)
    good &= days.astype("datetime64[M]") == months  # no 30 February
    local: Times = np.where(good, days.astype("datetime64[us]"), NAT)
    if not clock:
        return local
    return _clock_time(local, clock[0], clock[1] if len(clock) > 1 else np.zeros(len(local)), spec)


def _clock_time(days: Times, hour: NDArray[np.float64], minute: NDArray[np.float64], spec: TimeStamps) -> Times:
    if spec.hours == "1-24":  # named by their end
        hour, minute = hour - 1, np.where(minute == 0, 0, np.nan)
    good = (hour >= 0) & (hour < 24) & (minute >= 0) & (minute < 60)
    clock = np.where(good, hour * 60 + minute, 0).astype("timedelta64[m]")
    return np.where(good, days + clock, NAT)


def _or_0(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isnan(numbers), 0.0, numbers)


def _nothing(count: int) -> Times:
    return np.full(count, NAT)
