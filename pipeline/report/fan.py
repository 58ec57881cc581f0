"""The fan chart: observations, then the forecast as central intervals around the median."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import NamedTuple

from pipeline.report import svg
from pipeline.report.axes import FanAxes, charted_values, value_ticks
from pipeline.report.data import StationSeries
from pipeline.report.series import Band, drawn_bands, last_observed, median, observed
from pipeline.report.ticks import TimeScale, tick_decimals, time_ticks
from pipeline.report.typography import (
    number,
    percent,
    period_text,
    quantity,
    shown_name,
    units_text,
    whole_days,
)
from pipeline.steps import mean_length

WIDTH, HEIGHT = 300.0, 168.0

_TOP, _RIGHT = 20.0, 36.0
_FEW_LEADS = 4


class _Canvas(NamedTuple):
    """The axes of one chart, in pixels."""

    axes: FanAxes
    ticks: list[float]
    scale: TimeScale
    base: float

    def y(self, value: float) -> float:
        share = (value - self.ticks[0]) / (self.ticks[-1] - self.ticks[0])
        return self.base - (self.base - _TOP) * share

    @property
    def step(self) -> float:
        """Width of one time step."""
        return self.scale.x(self.scale.first + mean_length(self.axes.step)) - self.scale.left


def _grid(on: _Canvas) -> list[str]:
    out = []
    for value in on.ticks:
        y = on.y(value)
        out.append(svg.line(on.scale.left, y, on.scale.right, y, "axis" if value == on.ticks[0] else "grid"))
        out.append(svg.text(on.scale.left - 6, y + 3.5, number(value, tick_decimals(on.ticks)), "tick", "end"))
    if units := units_text(on.axes.units):
        out.append(svg.text(0, 9, units, "tick"))
    for tick in time_ticks(on.scale, on.axes.first_valid, int((on.scale.right - on.scale.left) // 42)):
        x = on.scale.x(tick.at)
        out.append(svg.line(x, on.base, x, on.base + (8 if tick.below else 4), "axis"))
        out.append(svg.text(x, on.base + 15, tick.label, "tick", "middle"))
        if tick.below:
            out.append(svg.text(x, on.base + 28, tick.below, "tick day", "middle"))
    return out


def _history(series: StationSeries, on: _Canvas) -> list[str]:
    times, values = observed(series, on.axes.history_end, on.axes.step, on.axes.history)
    xs = [on.scale.value_x(time) for time in times]
    paths, marks = [], []
    for start, stop in svg.runs(values):
        points = [(xs[i], on.y(values[i])) for i in range(start, stop)]
        if len(points) == 1:
            marks.append(svg.tag("circle", class_="seen1", cx=points[0][0], cy=points[0][1], r=1.7))
        else:
            paths.append(svg.polyline(points))
    # Steps that no station has reported yet stay blank: they are not gaps of this station.
    expected = [time <= on.axes.newest_observed for time in times]
    gaps = svg.runs(
        [0.0 if due and not math.isfinite(value) else math.nan for due, value in zip(expected, values, strict=True)]
    )
    half = on.step / 2
    for start, stop in gaps:
        span = f"M{svg.num(xs[start] - half)} {svg.num(on.base - 2)}H{svg.num(xs[stop - 1] + half)}"
        marks.append(svg.tag("path", svg.title("no observation"), class_="gap", d=span))
    return [*marks, svg.tag("path", class_="seen", d="".join(paths))] if paths else marks


def _fan(band: Band, xs: list[float], on: _Canvas, style: str) -> str:
    parts = []
    for start, stop in svg.runs((band.low + band.high).tolist()):
        upper = [(xs[i], on.y(float(band.high[i]))) for i in range(start, stop)]
        lower = [(xs[i], on.y(float(band.low[i]))) for i in range(start, stop)]
        if len(upper) == 1:
            (x, top), bottom = upper[0], lower[0][1]
            upper, lower = [(x - 2, top), (x + 2, top)], [(x - 2, bottom), (x + 2, bottom)]
        parts.append(svg.polyline(upper + lower[::-1], closed=True))
    return svg.tag("path", class_=style, d="".join(parts)) if parts else ""


def _bars(band: Band, xs: list[float], on: _Canvas, style: str, half: float) -> str:
    parts = []
    for start, stop in svg.runs((band.low + band.high).tolist()):
        for i in range(start, stop):
            top, bottom = on.y(float(band.high[i])), on.y(float(band.low[i]))
            corners = [
                (xs[i] - half, top),
                (xs[i] + half, top),
                (xs[i] + half, bottom),
                (xs[i] - half, bottom),
            ]
            parts.append(svg.polyline(corners, closed=True))
    return svg.tag("path", class_=style, d="".join(parts)) if parts else ""


def _forecast(series: StationSeries, on: _Canvas) -> list[str]:
    xs = [on.scale.value_x(time) for time in series.valid_time]
    middle, shown = median(series).tolist(), drawn_bands(series)
    half = 0.36 * on.step
    few = len(xs) <= _FEW_LEADS
    out = []
    for index, band in enumerate(shown):
        style = f"band band{3 - len(shown) + index + 1}"
        out.append(_bars(band, xs, on, style, half) if few else _fan(band, xs, on, style))
    path = ""
    for start, stop in svg.runs(middle):
        points = [(xs[i], on.y(middle[i])) for i in range(start, stop)]
        if few or len(points) == 1:
            path += "".join(svg.polyline([(x - half, y), (x + half, y)]) for x, y in points)
        else:
            path += svg.polyline(points)
    if path:
        out.append(svg.tag("path", class_="median", d=path))
    return out


def _hover(series: StationSeries, on: _Canvas) -> list[str]:
    width = on.step
    out, middle = [], median(series).tolist()
    for index, time in enumerate(series.valid_time):
        if not math.isfinite(middle[index]):
            continue
        when = period_text(time, on.axes.step, on.axes.label)
        words = f"{when}: {quantity(middle[index], on.axes.decimals, on.axes.units)}"
        for band in drawn_bands(series):
            low, high = float(band.low[index]), float(band.high[index])
            if math.isfinite(low + high):
                ends = f"{number(low, on.axes.decimals)} to {number(high, on.axes.decimals)}"
                words += f"; {percent(band.share)}: {ends}"
        at = on.scale.value_x(time)
        box: dict[str, str | float] = {
            "x": at - width / 2,
            "y": _TOP,
            "width": width,
            "height": on.base - _TOP,
        }
        out.append(svg.tag("rect", svg.title(words), class_="hit", **box))
    return out


def _end_labels(series: StationSeries, on: _Canvas) -> list[str]:
    """Label the last median and the ends of its widest interval, moved apart where they would touch."""
    finite = [i for i, value in enumerate(median(series).tolist()) if math.isfinite(value)]
    if not finite:
        return []
    last = finite[-1]
    middle = float(median(series)[last])
    x, at = on.scale.right + 4, on.y(middle)
    out = [svg.text(x, at + 3.5, number(middle, on.axes.decimals), "value")]
    for band in drawn_bands(series)[:1]:
        for value, least in ((float(band.high[last]), -11.0), (float(band.low[last]), 11.0)):
            if math.isfinite(value):
                there = on.y(value)
                there = min(there, at + least) if least < 0 else max(there, at + least)
                out.append(svg.text(x, there + 3.5, number(value, on.axes.decimals), "tick"))
    return out


def summary(series: StationSeries, axes: FanAxes) -> str:
    """Return the chart as one sentence, for screen readers."""
    words = f"{shown_name(series.name)}: "
    if found := last_observed(series):
        seen = quantity(found[1], axes.decimals, axes.units)
        words += f"last observed {seen} {_on(axes)} {period_text(found[0], axes.step, axes.label)}"
    else:
        words += "no observation"
    known = [(t, v) for t, v in zip(series.valid_time, median(series).tolist(), strict=True) if math.isfinite(v)]
    if not known:
        return words + "; no forecast."
    ends = [known[0], known[-1]] if len(known) > 1 else known
    medians = [
        f"{number(value, axes.decimals)} {_on(axes)} {period_text(time, axes.step, axes.label)}" for time, value in ends
    ]
    return f"{words}; forecast median {' to '.join(medians)}."


def _on(axes: FanAxes) -> str:
    """Return the word before the name of a period: "on 14 Dec", but "in March 2024"."""
    return "on" if isinstance(axes.step, timedelta) or axes.step.unit == "day" else "in"


def fan_body(series: StationSeries, axes: FanAxes, ticks: list[float] | None = None) -> list[str]:
    """Return the elements of the chart, `WIDTH` by `HEIGHT`; without `ticks` it has its own vertical axis."""
    ticks = ticks or value_ticks(charted_values(series, axes.history_end, axes.step, axes.history))
    left = 8 + max(svg.text_width(number(value, tick_decimals(ticks)), 10) for value in ticks)
    scale = TimeScale(axes.first, axes.last, left, WIDTH - _RIGHT, axes.step, axes.label)
    on = _Canvas(axes, ticks, scale, HEIGHT - (22 if whole_days(axes.step) else 34))
    issued = scale.x(axes.issue_time)
    return [
        *_grid(on),
        *_forecast(series, on),
        svg.line(issued, _TOP - 8, issued, on.base, "issue"),
        *_history(series, on),
        *_end_labels(series, on),
        *_hover(series, on),
    ]


def fan_chart(series: StationSeries, axes: FanAxes, ticks: list[float] | None = None) -> str:
    """Return the chart as inline SVG."""
    return svg.drawing(WIDTH, HEIGHT, summary(series, axes), *fan_body(series, axes, ticks))
