"""The section of one variable: map, table, fan charts and skill, ready for the template."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from pipeline.report import sentences, svg
from pipeline.report.axes import FanAxes, fan_axes, shared_ticks
from pipeline.report.data import ReportData, StationSeries, VariableForecast
from pipeline.report.fan import fan_chart
from pipeline.report.map import DrawnMap, Station, station_map
from pipeline.report.series import (
    PointForecast,
    drawn_bands,
    forecasts_by_time,
    last_observed,
    quoted_share,
    valid_times,
)
from pipeline.report.skill import HEIGHT, WIDTH, baseline_names, skill_panels
from pipeline.report.typography import (
    lead_text,
    number,
    percent,
    period_text,
    plural,
    quantity,
    shown_name,
    steps_text,
    units_text,
    zone_name,
)

MAP_WIDE, MAP_NARROW = 620.0, 366.0

_MOST_COLUMNS = 3
_MOST_SKILL_ROWS = 24
_UNKNOWN = PointForecast(math.nan, math.nan, math.nan)


def evenly_spaced(count: int, most: int) -> list[int]:
    """Return at most `most` of the indices below `count`, evenly spaced, with the first and the last."""
    if count <= most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


def _maps(
    variable: VariableForecast, found: list[PointForecast], when: str, decimals: int, kind: str
) -> list[DrawnMap]:
    dots = []
    for series, cell in zip(variable.stations, found, strict=True):
        name = shown_name(series.name)
        value = quantity(cell.median, decimals, variable.units) if math.isfinite(cell.median) else "no value"
        dots.append(Station(name, f"{name}: {value}", series.latitude, series.longitude, cell.median))
    units = units_text(variable.units)
    caption = f"Median {when}{f', {units}' if units else ''}"
    label = f"Map of {plural(len(dots), kind)}, coloured by the forecast median{f' for {when}' if when else ''}."
    drawn = [station_map(dots, caption=caption, label=label, width=width) for width in (MAP_WIDE, MAP_NARROW)]
    return [one for one in drawn if one is not None]


def _numbered(maps: list[DrawnMap]) -> str:
    """Return the style of the row numbers: " " if both maps have numbers, the width of the one that has, or ""."""
    wide, narrow = (drawn.numbered for drawn in maps) if maps else (False, False)
    return " " if wide and narrow else " wide" if wide else " narrow" if narrow else ""


def _table(variable: VariableForecast, table: list[dict[datetime, PointForecast]], axes: FanAxes) -> dict[str, Any]:
    times, share = valid_times(variable), quoted_share(variable)
    columns = [times[i] for i in evenly_spaced(len(times), _MOST_COLUMNS)]
    rows = []
    for series, by_time in zip(variable.stations, table, strict=True):
        shown = []
        for cell in (by_time.get(time, _UNKNOWN) for time in columns):
            ends = sentences.interval_text(cell, axes.decimals) if math.isfinite(cell.low + cell.high) else ""
            shown.append({"median": number(cell.median, axes.decimals), "ends": ends})
        rows.append({"name": shown_name(series.name), "cells": shown})
    units = units_text(variable.units)
    note = f"Median and {percent(share)} interval" if math.isfinite(share) else "Median"
    note += f", {units}" if units else ""
    note += f"; {len(columns)} of {len(times)} forecast times" if len(columns) < len(times) else ""
    headings = [period_text(time, axes.step, axes.label) for time in columns]
    return {"table": rows, "table_times": headings, "table_note": note}


def _fans(variable: VariableForecast, axes: FanAxes, missing: set[str]) -> dict[str, Any]:
    ticks = shared_ticks(variable, axes)
    fans = [
        {
            "name": shown_name(series.name),
            "note": _fan_note(series, axes),
            "missing": series.name in missing or series.station_id in missing,
            "svg": fan_chart(series, axes, ticks),
        }
        for series in variable.stations
    ]
    example = next((found for series in variable.stations if (found := drawn_bands(series))), [])
    key = [
        {"style": f"band{3 - len(example) + index + 1}", "text": f"{percent(band.share)} interval"}
        for index, band in enumerate(example)
    ]
    scaled = "All charts share one vertical axis." if ticks else "Each chart has its own vertical axis."
    past, zone = steps_text(axes.history, axes.step), zone_name(axes.step)
    return {"fans": fans, "bands": key[::-1], "fan_note": f"The last {past} and the forecast, in {zone}. {scaled}"}


def _fan_note(series: StationSeries, axes: FanAxes) -> str:
    found = last_observed(series)
    if found is None:
        return "no observation"
    return f"last {number(found[1], axes.decimals)}, {period_text(found[0], axes.step, axes.label)}"


def _skill(variable: VariableForecast) -> dict[str, Any]:
    if not sum(entry.count for entry in variable.skill):
        return {"panels": [], "skill": [], "baselines": [], "skill_caption": "", "nominal": ""}
    names, decimals = baseline_names(variable.skill), sentences.skill_decimals(variable.skill)
    kept = [variable.skill[i] for i in evenly_spaced(len(variable.skill), _MOST_SKILL_ROWS)]
    rows = [
        {
            "lead": entry.name or lead_text(entry.lead),
            "count": number(entry.count, 0),
            "crps": number(entry.crps, decimals),
            "baselines": [number(dict(entry.baseline_crps).get(name, math.nan), decimals) for name in names],
            "skill": percent(entry.skill, sign=True),
            "style": "down" if entry.skill < 0 else "up",
            "coverage": percent(entry.coverage),
        }
        for entry in kept
    ]
    units = units_text(variable.units)
    caption = f"Mean CRPS{f', {units}' if units else ''}; skill relative to the best baseline at each lead"
    if len(kept) < len(variable.skill):
        caption += f"; {len(kept)} of {len(variable.skill)} leads"
    panels = [
        {"heading": heading, "svg": svg.drawing(WIDTH, HEIGHT, label, *body)}
        for heading, label, body in skill_panels(variable.skill, variable.units, variable.nominal_coverage)
    ]
    return {
        "panels": panels,
        "skill": rows,
        "baselines": [shown_name(name) for name in names],
        "skill_caption": caption,
        "nominal": percent(variable.nominal_coverage),
    }


def build_section(variable: VariableForecast, data: ReportData) -> dict[str, Any]:
    """Return everything that the template needs for one variable."""
    axes = fan_axes(variable, issue_time=data.issue_time, step=data.step, label=data.time_label)
    times, share = valid_times(variable), quoted_share(variable)
    at = times[0] if times else None
    table = [forecasts_by_time(series, share) for series in variable.stations]
    found = [by_time.get(at, _UNKNOWN) if at else _UNKNOWN for by_time in table]
    when = period_text(at, data.step, data.time_label) if at else ""
    maps = _maps(variable, found, when, axes.decimals, data.location_kind)
    return {
        "title": variable.title,
        "extremes": sentences.extremes(variable, found, share, axes.decimals, when),
        "map_wide": maps[0].svg if maps else "",
        "map_narrow": maps[1].svg if maps else "",
        "numbered": _numbered(maps),
        "skill_note": sentences.skill_note(variable),
        **_table(variable, table, axes),
        **_fans(variable, axes, set(data.data.missing_stations)),
        **_skill(variable),
    }
