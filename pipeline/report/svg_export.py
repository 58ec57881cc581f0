"""The charts of the report as complete SVG files, for a run page or a notebook."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from importlib.resources import files

from pipeline.report import axes, basis_chart, fan, skill, svg
from pipeline.report.basis_data import InputLoss
from pipeline.report.data import Instant, LeadSkill, TimeLabel, VariableForecast
from pipeline.report.typography import instant_text, shorten, shown_name, units_text
from pipeline.steps import Step

_PAD, _HEAD, _CAPTION = 16.0, 46.0, 20.0


@cache
def asset(name: str) -> str:
    """Return the text of a file beside this module."""
    return files("pipeline.report").joinpath(name).read_text(encoding="utf-8")


def _arrange(
    heading: str, note: str, panels: Sequence[tuple[str, list[str]]], columns: int, size: tuple[float, float]
) -> str:
    columns = max(1, min(columns, len(panels)))
    cell_width, cell_height = size[0] + _PAD, size[1] + _CAPTION + _PAD
    body = [svg.text(_PAD, 24, heading, "heading"), svg.text(_PAD, 40, note, "note")]
    for index, (caption, elements) in enumerate(panels):
        row, column = divmod(index, columns)
        x, y = _PAD + column * cell_width, _HEAD + row * cell_height
        panel = [svg.text(0, 12, shorten(caption, 44), "caption")]
        panel.append(svg.tag("g", *elements, transform=f"translate(0 {svg.num(_CAPTION)})"))
        body.append(svg.tag("g", *panel, transform=f"translate({svg.num(x)} {svg.num(y)})"))
    rows = -(-len(panels) // columns)
    width, height = max(_PAD + columns * cell_width, 340.0), _HEAD + max(rows, 1) * cell_height
    return svg.standalone(width, height, f"{heading}. {note}", asset("chart.css"), *body)


def fan_svg(
    variable: VariableForecast,
    *,
    issue_time: Instant,
    step: Step,
    time_label: TimeLabel = "end",
    station_ids: Collection[str] | None = None,
    columns: int = 3,
) -> str:
    """Return the fan charts of the chosen stations (all by default) as one SVG file."""
    shared = axes.fan_axes(variable, issue_time=issue_time, step=step, label=time_label)
    ticks = axes.shared_ticks(variable, shared)
    chosen = [s for s in variable.stations if station_ids is None or s.station_id in station_ids]
    panels = [(shown_name(series.name), fan.fan_body(series, shared, ticks)) for series in chosen]
    printed = units_text(variable.units)
    heading = f"{variable.title}{f', {printed}' if printed else ''}"
    return _arrange(heading, f"issued {instant_text(issue_time)}", panels, columns, (fan.WIDTH, fan.HEIGHT))


def skill_svg(title: str, entries: Sequence[LeadSkill], *, units: str, nominal_coverage: float = 0.8) -> str:
    """Return skill by lead as one SVG file; without entries it reads "not verified yet"."""
    count = sum(entry.count for entry in entries)
    if not entries:
        return _arrange(title, "not verified yet", [], 1, (skill.WIDTH, 0.0))
    panels = [(heading, body) for heading, _, body in skill.skill_panels(entries, units, nominal_coverage)]
    return _arrange(title, f"{count} verified forecast values", panels, 3, (skill.WIDTH, skill.HEIGHT))


def basis_svg(title: str, losses: Sequence[InputLoss], *, note: str) -> str:
    """Return the loss of accuracy without each group of inputs as one SVG file."""
    drawn = basis_chart.charts(losses)
    height = max((height for _, _, height, _ in drawn), default=0.0)
    panels = [(heading, body) for heading, _, _, body in drawn]
    return _arrange(title, note, panels, 3, (basis_chart.WIDTH, height))
