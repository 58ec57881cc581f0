"""The time coordinate of a gridded file: found by the CF conventions, and read by its units and calendar."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pyarrow as pa
import xarray as xr
from numpy.typing import NDArray

from pipeline.errors import ContractError, first_line
from pipeline.ingest.decoding.gridded.axes import TIME, find_coordinate, text_attribute

_FIRST, _END = np.datetime64("0001-01-01", "us"), np.datetime64("9999-12-31", "us")  # the years of Python
_SINCE = re.compile(r"\s*[a-z]+\s+since\s", re.IGNORECASE)
_ALL_YEARS = 4e11  # in seconds: 12,700 years, more than any time is from any epoch
_SECONDS = {"d": 86400, "h": 3600, "min": 60, "mil": 1e-3, "ms": 1e-3, "mic": 1e-6, "us": 1e-6, "n": 1e-9}
REFERENCE = "forecast_reference_time"
_CALENDARS = ("standard", "gregorian", "proleptic_gregorian")


def find_time(dataset: xr.Dataset, wanted: str) -> str:
    """Return the name of the coordinate of valid times, which is not the reference time of a forecast.

    Raises:
        ContractError: there is none.
    """
    name = find_coordinate(dataset, wanted, TIME)
    if name is None:
        known = ", ".join(map(str, dataset.variables))[:200]
        raise ContractError(f"no coordinate '{wanted}' of time; it has {known}; name it in feed.source.grid.time")
    if text_attribute(dataset.variables[name].attrs, "standard_name") == REFERENCE:
        valid = [
            str(other)
            for other, variable in dataset.variables.items()
            if text_attribute(variable.attrs, "standard_name") == "time"
        ]
        return valid[0] if len(valid) == 1 else name
    return name


def attribute(attributes: dict[Any, Any], name: str) -> tuple[str, str] | None:
    """Return key and text of an attribute, also under a misspelt name such as `Unit` or `Units`; None if missing."""
    spellings = (name, name.removesuffix("s"))
    keys = sorted((key for key in attributes if str(key).lower() in spellings), key=lambda key: key != name)
    return (str(keys[0]), str(attributes[keys[0]]).strip()) if keys else None


def read_times(variable: xr.Variable, name: str) -> tuple[pa.Array, tuple[str, ...]]:
    """Return the times of a time coordinate as a flat array, and notes.

    Numbers become times by the units and calendar of the coordinate; without units they stay numbers.

    Raises:
        ContractError: the units cannot be read, or the calendar is not the standard one.
    """
    values = variable.values.ravel()
    if values.dtype.kind == "M":
        return pa.array(_within_years(values.astype("datetime64[us]")), pa.timestamp("us")), ()
    if values.dtype.kind in "SUOT":
        texts = [cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell) for cell in values]
        return pa.array(texts, pa.string()), ()
    found = attribute(variable.attrs, "units")
    if found is None or not _SINCE.match(found[1]):
        return pa.array(values), ()
    key, units = found
    calendar = text_attribute(variable.attrs, "calendar").lower() or "standard"
    if calendar not in _CALENDARS:
        raise ContractError(f"{name} counts by the calendar '{calendar[:40]}'; only the standard one is supported")
    absent = np.isin(
        values, [variable.attrs[fill] for fill in ("_FillValue", "missing_value") if fill in variable.attrs]
    )
    absent |= ~(np.abs(values.astype(np.float64)) * _seconds(units) < _ALL_YEARS)
    times = np.full(len(values), np.datetime64("NaT", "us"))
    times[~absent] = _since(values[~absent], units, calendar, name)
    odd = f"{name} has its units in the attribute '{key}' instead of 'units': {units[:60]}"
    return pa.array(times, pa.timestamp("us")), () if key == "units" else (odd,)


def _since(values: NDArray[Any], units: str, calendar: str, name: str) -> NDArray[np.datetime64]:
    if not len(values):
        return np.empty(0, "datetime64[us]")
    raw = xr.Variable("time", values, {"units": units, "calendar": calendar})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about dates before 1582, which are read nevertheless
            decoded = xr.coders.CFDatetimeCoder(time_unit="us").decode(raw, name).values
        if decoded.dtype.kind == "O":  # dates of the mixed calendar
            decoded = np.array([date.isoformat() for date in decoded], "datetime64[us]")
    except (ValueError, OverflowError, TypeError, KeyError) as error:
        raise ContractError(f"{name} cannot be read as '{units[:60]}', {first_line(error)[:120]}") from error
    times = decoded.astype("datetime64[us]")
    if values.dtype.kind == "f":  # a fraction of a day is rarely a whole number of microseconds
        second = np.timedelta64(1_000_000, "us")
        whole = (times + second // 2).astype("datetime64[s]").astype("datetime64[us]")
        times = np.where(np.abs(times - whole) < second // 100, whole, times)
    return _within_years(times)


def _seconds(units: str) -> float:
    """Return the length of a unit in seconds by the first letters of its name; 1 if it is unknown."""
    word = units.strip().lower()
    return next((seconds for start, seconds in _SECONDS.items() if word.startswith(start)), 1.0)


def _within_years(times: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    return np.where((times >= _FIRST) & (times < _END), times, np.datetime64("NaT", "us"))
