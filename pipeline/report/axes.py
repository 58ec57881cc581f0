"""The axes that the fan charts of one variable share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from pipeline.report.data import Instant, StationSeries, TimeLabel, VariableForecast
from pipeline.report.series import drawn_bands, last_observed, median, observed, valid_times
from pipeline.report.ticks import nice_ticks
from pipeline.report.typography import decimals_for, drawn_at, utc
from pipeline.steps import Step, add, between, mean_length


@dataclass(frozen=True)
class FanAxes:
    """The time axis, units and decimals shared by the charts of one variable."""

    issue_time: datetime
    step: Step
    label: TimeLabel
    units: str
    first: datetime
    last: datetime
    history: int
    history_end: datetime
    newest_observed: datetime
    first_valid: datetime
    decimals: int


def fan_axes(
    variable: VariableForecast,
    *,
    issue_time: Instant,
    step: Step,
    label: TimeLabel,
    history: int | None = None,
) -> FanAxes:
    """Return the axes of every chart of a variable; `history` counts observed steps, 15 to 30 by default."""
    leads = valid_times(variable)
    issued = utc(issue_time)
    steps = history if history is not None else max(15, min(30, 5 * len(leads)))
    newest = [found[0] for series in variable.stations if (found := last_observed(series))]
    # History ends at the newest period that had ended at the issue time, however old the input is.
    end = add(leads[0], -max(1, -between(leads[0], issued, step)), step) if leads else max(newest, default=issued)
    end = max([end, *newest])
    largest = max((_largest(series, end, step, steps) for series in variable.stations), default=1.0)
    half = mean_length(step) / 2
    first = drawn_at(add(end, 1 - steps, step), step, label) - half
    last = drawn_at(max([end, *leads]), step, label) + half
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
        decimals_for(largest),
    )


def charted_values(series: StationSeries, newest: datetime, step: Step, history: int) -> list[float]:
    """Return every finite value in the chart of a station."""
    seen = observed(series, newest, step, history)[1]
    outer = [end for band in drawn_bands(series)[:1] for end in (*band.low.tolist(), *band.high.tolist())]
    return [value for value in (*seen, *outer, *median(series).tolist()) if math.isfinite(value)]


def _largest(series: StationSeries, newest: datetime, step: Step, history: int) -> float:
    return max((abs(value) for value in charted_values(series, newest, step, history)), default=0.0)


def value_ticks(values: list[float]) -> list[float]:
    """Return the ticks of a vertical axis; it starts at 0 if no value is negative and some are close to 0."""
    if not values:
        return [0.0, 1.0]
    low, high = min(values), max(values)
    if 0 <= low < 0.45 * high:
        low = 0.0
    return nice_ticks(low, high, 4)


def shared_ticks(variable: VariableForecast, axes: FanAxes) -> list[float] | None:
    """Return the ticks of one vertical axis for all stations; None if it would flatten a chart."""
    spans = []
    every: list[float] = []
    for series in variable.stations:
        values = charted_values(series, axes.history_end, axes.step, axes.history)
        every += values
        spans.append(max(values) - min(values) if values else math.inf)
    ticks = value_ticks(every)
    return ticks if every and min(spans) >= (ticks[-1] - ticks[0]) / 3.5 else None
