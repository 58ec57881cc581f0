"""Render the page of a backtest: what models would have forecast, and how good it was."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pipeline.report.backtest_charts import Curve, curves_chart, pit_chart, reliability_chart, skill_chart
from pipeline.report.backtest_data import BacktestedModel, BacktestedVariable, BacktestPage, SkillInterval
from pipeline.report.page import content_security_policy, environment
from pipeline.report.svg_export import asset
from pipeline.report.typography import (
    clean,
    decimals_for,
    duration_text,
    instant_text,
    lead_name,
    listed,
    number,
    percent,
    plural,
    quantity,
    shown_name,
    units_text,
)

MOST_CURVES = 5
"""Most curves in a chart: the best model, the references, and the next best models."""
MOST_LOCATIONS = 60
"""With more locations, the page does not list them; the JSON result does."""


def render_backtest(page: BacktestPage) -> str:
    """Return the page as one HTML file that needs no network and runs no script. Equal data give equal pages."""
    styles = asset("chart.css") + asset("page.css")
    template = environment().from_string(asset("backtest.html.j2"))
    return template.render(
        csp=content_security_policy(styles),
        styles=styles,
        title=page.title,
        span=f"{instant_text(page.since)} to {instant_text(page.until)}",
        headline=_headline(page.variables[0]),
        method=_method(page),
        variables=[_section(variable, page) for variable in page.variables],
        problems=page.problems,
        licence=page.licence,
        made_by=f"Product {clean(page.product)}, backtested by Nightcast, code {clean(page.code_version)}.",
    )


def _headline(variable: BacktestedVariable) -> str:
    """Return which model has the lowest CRPS, and from which others its difference may be chance, as far as known."""
    best, *others = variable.models
    pairs = [(one.name, one.skill.get(best.name)) for one in others]
    pairs += [(name, best.skill[name]) for name in variable.references if name in best.skill]
    close = [shown_name(name) for name, skill in pairs if skill and not skill.is_clear]
    sentence = f"{shown_name(best.name)} has the lowest CRPS for {variable.title.lower()}"
    return f"{sentence}, not distinguishable from {listed(close)}" if close else sentence


def _method(page: BacktestPage) -> str:
    return (
        f"{plural(page.issues, 'issue time')} from {plural(page.origins, 'origin')}, one every "
        f"{duration_text(page.every)}. At each origin every model is trained on what was known then. Until the next "
        "origin it forecasts from what was known at each issue time. Observations are as known on "
        f"{instant_text(page.verified_at)}. Means are over the forecasts that all models have. Ranges of skill are "
        f"{percent(page.confidence)} confidence intervals by a bootstrap of blocks of "
        f"{plural(page.block, 'issue time')}. Seasons and hours are those of the valid time."
    )


def _section(variable: BacktestedVariable, page: BacktestPage) -> dict[str, Any]:
    units = units_text(variable.units)
    decimals = decimals_for(variable.models[0].crps) + 1
    return {
        "title": variable.title,
        "note": _note(variable, decimals),
        "caption": f"Over all leads{f', {units}' if units else ''}; {plural(variable.count, 'forecast value')} each",
        "intervals": [percent(nominal) for nominal in page.nominal],
        "references": [shown_name(name) for name in variable.references],
        "models": [_row(model, variable, decimals) for model in variable.models],
        "panels": _panels(variable, page, f", {units}" if units else ""),
        "groups": [
            _groups("Season", [model.crps_by_season for model in variable.models], decimals),
            *_location_groups(variable, decimals),
        ],
        "names": [shown_name(model.name) for model in variable.models],
    }


def _note(variable: BacktestedVariable, decimals: int) -> str:
    best = variable.models[0]
    sentence = f"{shown_name(best.name)} has the lowest CRPS, {quantity(best.crps, decimals, variable.units)}"
    against = [
        f"{_interval(best.skill[name])} against {shown_name(name)}"
        for name in variable.references
        if name in best.skill
    ]
    return f"{sentence}; its skill is {' and '.join(against)}." if against else f"{sentence}."


def _interval(skill: SkillInterval) -> str:
    if not math.isfinite(skill.low) or not math.isfinite(skill.high):
        return percent(skill.skill, sign=True)
    return f"{percent(skill.skill, sign=True)} ({percent(skill.low, sign=True)} to {percent(skill.high, sign=True)})"


def _row(model: BacktestedModel, variable: BacktestedVariable, decimals: int) -> dict[str, Any]:
    return {
        "name": shown_name(model.name),
        "scores": [number(value, decimals) for value in (model.crps, model.mae, model.rmse, model.bias)],
        "coverage": [percent(value) for value in model.coverage],
        "skill": [
            {"text": _interval(found), "style": _style(found)} if found else None
            for found in (model.skill.get(name) for name in variable.references)
        ],
    }


def _style(skill: SkillInterval) -> str:
    return ("up" if skill.skill > 0 else "down") if skill.is_clear else ""


def _panels(variable: BacktestedVariable, page: BacktestPage, units: str) -> list[dict[str, str]]:
    best, drawn = variable.models[0], _drawn(variable)
    panels = []
    leads = range(1, len(best.crps_by_lead) + 1)
    curves = [_curve(model, model.crps_by_lead, best) for model in drawn]
    panels.append(
        (
            f"CRPS by lead{units} (lower is better)",
            curves_chart("CRPS by lead.", curves, leads, [lead_name(lead, page.step) for lead in leads]),
        )
    )
    for reference in variable.references:
        rows = [
            (model.name, found.skill, found.low, found.high)
            for model in variable.models
            if (found := model.skill.get(reference))
        ]
        if rows:
            heading = f"Skill against {shown_name(reference)}"
            panels.append((heading, skill_chart(f"{heading}, by model; the table has the numbers.", rows)))
    curves = [_curve(model, model.frequencies, best) for model in drawn]
    panels.append(("Reliability: observed below each level", reliability_chart("Reliability.", curves, page.levels)))
    heading = f"PIT histogram of {shown_name(best.name)}"
    panels.append((heading, pit_chart(f"{heading}; 1 if calibrated.", best.pit, page.levels)))
    if best.crps_by_hour:
        hours = sorted(best.crps_by_hour)
        curves = [_curve(model, [model.crps_by_hour[hour] for hour in hours], best) for model in drawn]
        chart = curves_chart("CRPS by hour of the day.", curves, hours, [f"{hour:02}" for hour in hours])
        panels.append((f"CRPS by hour of the day, UTC{units}", chart))
    return [{"heading": heading, "svg": chart} for heading, chart in panels]


def _curve(model: BacktestedModel, values: Sequence[float], best: BacktestedModel) -> Curve:
    return Curve(model.name, values, "model" if model is best else "base")


def _drawn(variable: BacktestedVariable) -> list[BacktestedModel]:
    """Return the models in charts, the best one last, so that it is in front."""
    best, *others = variable.models
    ranked = sorted(others, key=lambda model: model.name not in variable.references)  # stable: the others by CRPS
    return [*ranked[: MOST_CURVES - 1], best]


def _groups(heading: str, by_group: Sequence[dict[str, float]], decimals: int) -> dict[str, Any]:
    rows = [{"name": name, "cells": [number(scores[name], decimals) for scores in by_group]} for name in by_group[0]]
    return {"heading": heading, "rows": rows}


def _location_groups(variable: BacktestedVariable, decimals: int) -> list[dict[str, Any]]:
    by_location = [model.crps_by_location for model in variable.models]
    if not 0 < len(by_location[0]) <= MOST_LOCATIONS:
        return []
    return [_groups("Location", by_location, decimals)]
