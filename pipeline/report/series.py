"""Arithmetic on the series of a station, shared by charts, map and table."""

from __future__ import annotations

import math
from datetime import datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.report.data import StationSeries, VariableForecast
from pipeline.report.typography import utc
from pipeline.steps import Step, add, mean_length

Floats = npt.NDArray[np.float64]


class Band(NamedTuple):
    """A central interval: its nominal share in 0..1 and its ends by lead."""

    share: float
    low: Floats
    high: Floats


class PointForecast(NamedTuple):
    """Forecast of one station at one time: the median and the ends of the quoted interval."""

    median: float
    low: float
    high: float


def quantiles(series: StationSeries) -> Floats:
    """Return the quantiles, shape `(lead, level)`, with NaN for infinities."""
    out = np.asarray(series.quantiles, dtype=float).reshape(len(series.valid_time), len(series.quantile_levels))
    return np.where(np.isfinite(out), out, np.nan)


def median(series: StationSeries) -> Floats:
    """Return the median by lead, interpolated between levels; NaN where 0.5 is outside the levels."""
    levels = np.asarray(series.quantile_levels, dtype=float)
    if len(levels) == 0 or len(series.valid_time) == 0:
        return np.full(len(series.valid_time), np.nan)
    table = quantiles(series)
    return np.array([np.interp(0.5, levels, row, left=np.nan, right=np.nan) for row in table])


def bands(series: StationSeries) -> list[Band]:
    """Return the central intervals, widest first: each level below one half with its mirror above."""
    levels = np.asarray(series.quantile_levels, dtype=float)
    table = quantiles(series)
    out = []
    for index, level in enumerate(levels):
        mirror = np.flatnonzero(np.abs(levels - (1 - level)) < 1e-6)
        if level < 0.5 - 1e-6 and len(mirror):
            out.append(Band(round(float(1 - 2 * level), 6), table[:, index], table[:, int(mirror[0])]))
    return sorted(out, key=lambda band: -band.share)


def drawn_bands(series: StationSeries) -> list[Band]:
    """Return at most three of the intervals: the widest, the middle one and the narrowest."""
    every = bands(series)
    return every if len(every) <= 3 else [every[0], every[len(every) // 2], every[-1]]


def quoted_share(variable: VariableForecast) -> float:
    """Return the share of the interval quoted in text: the one nearest to 80 %; NaN if there is none."""
    shares = {band.share for series in variable.stations for band in bands(series)}
    return min(shares, key=lambda share: (abs(share - 0.8), share)) if shares else math.nan


def forecasts_by_time(series: StationSeries, share: float) -> dict[datetime, PointForecast]:
    """Return the forecast of a station by valid time, with the interval of this share."""
    middle = median(series)
    band = next((b for b in bands(series) if abs(b.share - share) < 1e-6), None)
    empty = np.full(len(middle), np.nan)
    low, high = (band.low, band.high) if band else (empty, empty)
    return {
        utc(time): PointForecast(float(middle[i]), float(low[i]), float(high[i]))
        for i, time in enumerate(series.valid_time)
    }


def valid_times(variable: VariableForecast) -> list[datetime]:
    """Return the valid times forecast for any station, ascending."""
    return sorted({utc(time) for series in variable.stations for time in series.valid_time})


def observed(series: StationSeries, last: datetime, step: Step, most: int) -> tuple[list[datetime], list[float]]:
    """Return the `most` steps up to `last` as times and values; NaN at a step without an observation."""
    known = {utc(time): float(value) for time, value in zip(series.observed_time, series.observed, strict=True)}
    known = {time: value for time, value in known.items() if add(last, -most, step) < time}
    filled = {round((last - time) / mean_length(step)) for time in known}
    times = sorted({add(last, -index, step) for index in range(most) if index not in filled} | set(known))
    return times, [value if math.isfinite(value := known.get(time, math.nan)) else math.nan for time in times]


def last_observed(series: StationSeries) -> tuple[datetime, float] | None:
    """Return the valid time and the value of the newest finite observation."""
    for time, value in sorted(zip(map(utc, series.observed_time), series.observed, strict=True), reverse=True):
        if math.isfinite(value):
            return time, float(value)
    return None
