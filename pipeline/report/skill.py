"""Charts of skill by lead: CRPS beside the baselines, skill, and coverage of the interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from pipeline.report import svg
from pipeline.report.data import LeadSkill
from pipeline.report.ticks import nice_ticks, tick_decimals
from pipeline.report.typography import lead_text, number, percent, shorten, shown_name, units_text

WIDTH, HEIGHT = 300.0, 168.0

_TOP, _BOTTOM, _RIGHT = 12.0, 24.0, 84.0


class _Plot:
    """A plot area with leads on the horizontal axis."""

    def __init__(self, skill: Sequence[LeadSkill], ticks: list[float], shown: Callable[[float], str], right: float):
        self.ticks = ticks
        self.left = 8 + max(svg.text_width(shown(value), 10) for value in ticks)
        self.right = WIDTH - right
        pad = min(26.0, (self.right - self.left) / (2 * len(skill)))
        width = self.right - self.left - 2 * pad
        first, last = skill[0].lead, skill[-1].lead
        self.xs = [
            self.left + pad + (width * ((s.lead - first) / (last - first)) if last > first else 0) for s in skill
        ]
        self.grid = []
        for value in ticks:
            y = self.y(value)
            self.grid.append(svg.line(self.left, y, self.right, y, "axis" if value == ticks[0] else "grid"))
            self.grid.append(svg.text(self.left - 6, y + 3.5, shown(value), "tick", "end"))
        stride = math.ceil(len(skill) / max(1, int((self.right - self.left) // 36)))
        for index in range(len(skill) - 1, -1, -stride):
            x = self.xs[index]
            self.grid.append(svg.text(x, HEIGHT - _BOTTOM + 15, _name(skill[index]), "tick", "middle"))

    def y(self, value: float) -> float:
        share = (value - self.ticks[0]) / (self.ticks[-1] - self.ticks[0])
        return HEIGHT - _BOTTOM - (HEIGHT - _BOTTOM - _TOP) * share

    def curve(self, values: Sequence[float], style: str, dots: bool = False) -> list[str]:
        path, marks = "", []
        for start, stop in svg.runs(values):
            points = [(self.xs[i], self.y(values[i])) for i in range(start, stop)]
            path += svg.polyline(points) if len(points) > 1 else ""
            if dots or len(points) == 1:
                marks += [svg.tag("circle", class_=f"{style}-dot", cx=x, cy=y, r=2.6) for x, y in points]
        return ([svg.tag("path", class_=style, d=path)] if path else []) + marks


def _name(entry: LeadSkill) -> str:
    return entry.name or lead_text(entry.lead)


def baseline_names(skill: Sequence[LeadSkill]) -> list[str]:
    """Return the names of the baselines in order of appearance."""
    return list(dict.fromkeys(name for entry in skill for name, _ in entry.baseline_crps))


def _last(values: Sequence[float]) -> float:
    return next((value for value in reversed(values) if math.isfinite(value)), math.nan)


def crps_body(skill: Sequence[LeadSkill]) -> list[str]:
    """Draw the CRPS by lead of the model and of each baseline, labelled at the right end."""
    curves = {
        name: [dict(entry.baseline_crps).get(name, math.nan) for entry in skill] for name in baseline_names(skill)
    }
    model = [entry.crps for entry in skill]
    every = [value for curve in (model, *curves.values()) for value in curve if math.isfinite(value)]
    if not every:
        return [svg.text(8, 20, "no scores yet", "note")]
    ticks = nice_ticks(0, max(every), 4)
    decimals = tick_decimals(ticks)
    plot = _Plot(skill, ticks, lambda value: number(value, decimals), _RIGHT)
    body = list(plot.grid)
    for curve in curves.values():
        body += plot.curve(curve, "base")
    body += plot.curve(model, "model", len(skill) <= 12)
    ends = [
        (plot.y(_last(c)), shorten(shown_name(n), 14), "tick") for n, c in curves.items() if math.isfinite(_last(c))
    ]
    if math.isfinite(_last(model)):
        ends.append((plot.y(_last(model)), "this model", "value"))
    floor = -math.inf
    for y, words, style in sorted(ends):
        floor = max(y, floor + 12)
        body.append(svg.text(plot.right + 4, floor + 3.5, words, style))
    return body


def gain_body(skill: Sequence[LeadSkill]) -> list[str]:
    """Draw the skill relative to the best baseline by lead, as bars from 0."""
    values = [entry.skill for entry in skill]
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return [svg.text(8, 20, "no baseline scores yet", "note")]
    ticks = nice_ticks(min(0.0, *known), max(0.05, *known), 4)
    plot = _Plot(skill, ticks, percent, 14)
    body = list(plot.grid)
    gap = (plot.xs[-1] - plot.xs[0]) / max(1, len(skill) - 1) if len(skill) > 1 else 40.0
    width = min(30.0, 0.62 * gap)
    zero = plot.y(0)
    for x, value in zip(plot.xs, values, strict=True):
        if math.isfinite(value):
            top, bottom = min(plot.y(value), zero), max(plot.y(value), zero)
            style = "gain" if value >= 0 else "loss"
            body.append(svg.tag("rect", class_=style, x=x - width / 2, y=top, width=width, height=bottom - top))
            if width > 16:
                body.append(svg.text(x, top - 4, percent(value, sign=True), "value", "middle"))
    return [*body, svg.line(plot.left, zero, plot.right, zero, "axis")]


def coverage_body(skill: Sequence[LeadSkill], nominal: float) -> list[str]:
    """Draw the share of observations inside each interval by lead, beside the nominal share."""
    curves = {nominal: [entry.coverage for entry in skill]}
    for share in (share for share, _ in skill[0].inner):
        curves[share] = [dict(entry.inner).get(share, math.nan) for entry in skill]
    known = [value for values in curves.values() for value in values if math.isfinite(value)]
    if not known:
        return [svg.text(8, 20, "coverage not known yet", "note")]
    low = min(0.5, *known, min(curves) - 0.1)
    ticks = [tick for tick in nice_ticks(low, 1.0, 5) if tick <= 1.0 + 1e-9]
    plot = _Plot(skill, ticks, percent, 76)
    body = list(plot.grid)
    for share, values in curves.items():
        y = plot.y(share)
        body.append(svg.line(plot.left, y, plot.right, y, "nominal"))
        body.append(svg.text(plot.right + 4, y + 3.5, f"nominal {percent(share)}", "tick"))
        body += plot.curve(values, "model", len(skill) <= 30)
    return body


def skill_panels(skill: Sequence[LeadSkill], units: str, nominal: float) -> list[tuple[str, str, list[str]]]:
    """Return heading, description for screen readers, and elements of each chart; needs at least one lead."""
    printed = units_text(units)
    overall = [f"{_name(e)} {percent(e.skill, sign=True)}" for e in skill if math.isfinite(e.skill)]
    covered = [f"{_name(e)} {percent(e.coverage)}" for e in skill if math.isfinite(e.coverage)]
    shares = ", ".join(percent(share) for share in (*sorted(share for share, _ in skill[0].inner), nominal))
    heading = f"CRPS by lead{f', {printed}' if printed else ''} (lower is better)"
    return [
        (
            heading,
            "CRPS by lead of the model and the baselines; the table has the numbers.",
            crps_body(skill),
        ),
        (
            "Skill relative to the best baseline",
            f"Skill by lead: {', '.join(overall) or 'unknown'}.",
            gain_body(skill),
        ),
        (
            f"Coverage of the {shares} interval{'s' if skill[0].inner else ''}",
            f"Coverage by lead: {', '.join(covered) or 'unknown'}; nominal {percent(nominal)}.",
            coverage_body(skill, nominal),
        ),
    ]
