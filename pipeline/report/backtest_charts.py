"""Charts of a backtest: curves, intervals of skill, and the histogram of the probability integral transform."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.report import svg
from pipeline.report.ticks import nice_ticks, tick_decimals
from pipeline.report.typography import number, percent, shorten, shown_name

WIDTH, HEIGHT = 300.0, 190.0

_TOP, _BOTTOM, _LABELS, _MARGIN = 10.0, 24.0, 98.0, 12.0
_ROW = 24.0


@dataclass(frozen=True)
class Curve:
    """One line of a chart; `style` is "model" for the one in front, otherwise "base"."""

    name: str
    values: Sequence[float]
    style: str = "base"


@dataclass(frozen=True)
class _Axes:
    """A plot area with linear axes."""

    x: tuple[float, float]
    y: tuple[float, float]
    left: float
    right: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1.0)
        up = (y - self.y[0]) / ((self.y[1] - self.y[0]) or 1.0)
        return self.left + (self.right - self.left) * across, HEIGHT - _BOTTOM - (HEIGHT - _BOTTOM - _TOP) * up


def curves_chart(label: str, curves: Sequence[Curve], x: Sequence[float], x_text: Sequence[str]) -> str:
    """Return curves over `x`, each named at its right end."""
    known = [value for curve in curves for value in curve.values if math.isfinite(value)]
    ticks = nice_ticks(min(known), max(known), 4)
    decimals = tick_decimals(ticks)
    axes = _axes(x, ticks, lambda value: number(value, decimals), right=_LABELS)
    body = [*_grid(axes, ticks, lambda value: number(value, decimals)), *_x_labels(axes, x, x_text)]
    body += [element for curve in curves for element in _line(axes, x, curve)]
    return svg.drawing(WIDTH, HEIGHT, label, *body, *_names(axes, x, curves))


def reliability_chart(label: str, curves: Sequence[Curve], levels: Sequence[float]) -> str:
    """Return observed frequencies over quantile levels beside the diagonal, on which a calibrated model lies."""
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
    axes = _axes((0.0, 1.0), ticks, percent, right=_LABELS)
    body = _grid(axes, ticks, percent) + _x_labels(axes, ticks, [percent(tick) for tick in ticks])
    body.append(svg.line(*axes.at(0, 0), *axes.at(1, 1), "nominal"))
    body += [element for curve in curves for element in _line(axes, levels, curve)]
    return svg.drawing(WIDTH, HEIGHT, label, *body, *_names(axes, levels, curves))


def pit_chart(label: str, densities: Sequence[float], levels: Sequence[float]) -> str:
    """Return a histogram of densities between the levels, beside the density 1 of a calibrated model."""
    ticks = nice_ticks(0.0, max(1.2, *densities), 4)
    decimals = tick_decimals(ticks)
    axes = _axes((0.0, 1.0), ticks, lambda value: number(value, decimals), right=_MARGIN)
    body = _grid(axes, ticks, lambda value: number(value, decimals))
    body += _x_labels(axes, [0.0, 0.5, 1.0], [percent(tick) for tick in (0.0, 0.5, 1.0)])
    edges = [0.0, *levels, 1.0]
    for low, high, density in zip(edges, edges[1:], densities, strict=False):
        (left, top), (right, bottom) = axes.at(low, density), axes.at(high, 0)
        width = max(right - left - 1, 0.5)
        hint = svg.title(f"{percent(low)} to {percent(high)}: {number(density, 2)}")
        body.append(svg.tag("rect", hint, class_="band3", x=left, y=top, width=width, height=bottom - top))
    return svg.drawing(WIDTH, HEIGHT, label, *body, svg.line(*axes.at(0, 1), *axes.at(1, 1), "nominal"))


def skill_chart(label: str, rows: Sequence[tuple[str, float, float, float]]) -> str:
    """Return the skill of each model with its interval as a row: (name, skill, low, high)."""
    known = [value for row in rows for value in row[1:] if math.isfinite(value)]
    ticks = nice_ticks(min(0.0, *known), max(0.0, *known), 4)
    left = 8 + max(svg.text_width(shorten(shown_name(name), 18), 10) for name, *_ in rows)
    height = _TOP + _ROW * len(rows) + _BOTTOM
    span = ticks[-1] - ticks[0]

    def x(value: float) -> float:
        return left + (WIDTH - _MARGIN - left) * (value - ticks[0]) / span

    body = []
    for tick in ticks:
        style = "axis" if abs(tick) < 1e-9 else "grid"
        body.append(svg.line(x(tick), _TOP, x(tick), height - _BOTTOM, style))
        body.append(svg.text(x(tick), height - _BOTTOM + 15, percent(tick), "tick", "middle"))
    for index, (name, skill, low, high) in enumerate(rows):
        y = _TOP + _ROW * (index + 0.5)
        body.append(svg.text(left - 8, y + 3.5, shorten(shown_name(name), 18), "tick", "end"))
        hint = svg.title(f"{name}: {percent(skill, sign=True)}")
        if math.isfinite(low) and math.isfinite(high):
            body.append(svg.line(x(low), y, x(high), y, "model"))
        body.append(svg.tag("circle", hint, class_="model-dot", cx=x(skill), cy=y, r=4))
    return svg.drawing(WIDTH, height, label, *body)


def _axes(x: Sequence[float], ticks: Sequence[float], shown: Callable[[float], str], *, right: float) -> _Axes:
    left = 8 + max(svg.text_width(shown(tick), 10) for tick in ticks)
    return _Axes((x[0], x[-1]), (ticks[0], ticks[-1]), left, WIDTH - right)


def _grid(axes: _Axes, ticks: Sequence[float], shown: Callable[[float], str]) -> list[str]:
    body = []
    for tick in ticks:
        _, y = axes.at(axes.x[0], tick)
        body.append(svg.line(axes.left, y, axes.right, y, "axis" if tick == ticks[0] else "grid"))
        body.append(svg.text(axes.left - 6, y + 3.5, shown(tick), "tick", "end"))
    return body


def _x_labels(axes: _Axes, x: Sequence[float], texts: Sequence[str]) -> list[str]:
    """Return as many labels as have room, the last one always."""
    stride = math.ceil(len(x) * 36 / (axes.right - axes.left))
    kept = range(len(x) - 1, -1, -max(1, stride))
    return [svg.text(axes.at(x[i], 0)[0], HEIGHT - _BOTTOM + 15, texts[i], "tick", "middle") for i in kept]


def _line(axes: _Axes, x: Sequence[float], curve: Curve) -> list[str]:
    out = []
    for start, stop in svg.runs(curve.values):
        points = [axes.at(x[i], curve.values[i]) for i in range(start, stop)]
        if len(points) > 1:
            out.append(svg.tag("path", class_=curve.style, d=svg.polyline(points)))
        if len(x) <= 12:
            out += [svg.tag("circle", class_=f"{curve.style}-dot", cx=px, cy=py, r=2.4) for px, py in points]
    return out


def _names(axes: _Axes, x: Sequence[float], curves: Sequence[Curve]) -> list[str]:
    """Return the names of curves at their right ends, moved down where they would overlap."""
    ends = []
    for curve in curves:
        last = next((value for value in reversed(curve.values) if math.isfinite(value)), None)
        if last is not None:
            style = "value" if curve.style == "model" else "tick"
            ends.append((axes.at(x[-1], last)[1], shorten(shown_name(curve.name), 16), style))
    ends.sort()
    # Names start high enough for all of them to fit above the axis.
    top = HEIGHT - _BOTTOM + 3.5 - 12 * (len(ends) - 1)
    out, floor = [], -math.inf
    for index, (y, name, style) in enumerate(ends):
        floor = max(min(y, top + 12 * index), floor + 12)
        out.append(svg.text(axes.right + 6, floor + 3.5, name, style))
    return out
