"""What the fan charts of one variable share: their axes, and how many digits their values need."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.report.data import Instant, StationSeries, TimeLabel, VariableForecast
from pipeline.report.series import drawn_bands, last_observed, median, observed, valid_times
from pipeline.report.ticks import nice_ticks
from pipeline.report.typography import decimals_for, utc


@dataclass(frozen=True)
class FanAxes:
    """What the charts of one variable share: the time axis, the units, and how values are printed."""

    issue_time: datetime
    step: timedelta
    label: TimeLabel
    units: str
    first: datetime
    last: datetime
    history: int
    newest: datetime
    seen_through: datetime
    anchor: datetime
    decimals: int


def fan_axes(
    variable: VariableForecast,
    *,
    issue_time: Instant,
    step: timedelta,
    label: TimeLabel,
    history: int | None = None,
) -> FanAxes:
    """Axes for every chart of a variable; `history` counts observed steps, by default 15 to 30."""
    leads = valid_times(variable)
    issued = utc(issue_time)
    steps = history if history is not None else max(15, min(30, 5 * len(leads)))
    newest = [found[0] for series in variable.stations if (found := last_observed(series))]
    # History ends at the newest period that was over at the issue time, however old the input is.
    end = leads[0] - step * max(1, math.ceil((leads[0] - issued) / step)) if leads else max(newest, default=issued)
    end = max([end, *newest])
    reach = max((_reach(series, end, step, steps) for series in variable.stations), default=1.0)
    back = step / 2 if label == "start" else timedelta(0)
    first = end - (steps - 1) * step - back - step / 2
    last = max([end, *leads]) - back + step / 2
    return FanAxes(
        issued,
        step,
        label,
        variable.units,
        min(first, issued),
        max(last, issued),
        steps,
        end,
        max(newest, default=end),
        leads[0] if leads else end,
        decimals_for(reach),
    )


def charted_values(series: StationSeries, newest: datetime, step: timedelta, history: int) -> list[float]:
    """Every finite value that a station's chart shows."""
    seen = observed(series, newest, step, history)[1]
    outer = [end for band in drawn_bands(series)[:1] for end in (*band.low.tolist(), *band.high.tolist())]
    return [value for value in (*seen, *outer, *median(series).tolist()) if math.isfinite(value)]


def _reach(series: StationSeries, newest: datetime, step: timedelta, history: int) -> float:
    return max((abs(value) for value in charted_values(series, newest, step, history)), default=0.0)


def value_ticks(values: list[float]) -> list[float]:
    """Marks of a vertical axis; it starts at zero when all values are positive and reach near it."""
    if not values:
        return [0.0, 1.0]
    low, high = min(values), max(values)
    if 0 <= low < 0.45 * high:
        low = 0.0
    return nice_ticks(low, high, 4)


def shared_ticks(variable: VariableForecast, axes: FanAxes) -> list[float] | None:
    """One vertical axis for every station, or None when it would flatten some chart."""
    spans = []
    every: list[float] = []
    for series in variable.stations:
        values = charted_values(series, axes.newest, axes.step, axes.history)
        every += values
        spans.append(max(values) - min(values) if values else math.inf)
    ticks = value_ticks(every)
    return ticks if every and min(spans) >= (ticks[-1] - ticks[0]) / 3.5 else None
