"""The sentences of the page."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import NamedTuple

from pipeline.fallback_level import FallbackLevel
from pipeline.report.data import (
    DataFacts,
    LeadSkill,
    ModelFacts,
    ReportData,
    VariableForecast,
)
from pipeline.report.series import PointForecast, valid_times
from pipeline.report.skill import baseline_names
from pipeline.report.typography import (
    UNKNOWN,
    clean,
    decimals_for,
    duration_text,
    instant_text,
    listed,
    number,
    percent,
    period_text,
    plural,
    quantity,
    shown_name,
    steps_text,
)

_NAMED = 3
"""Up to this many stations are named in a sentence; more are counted."""


class Fact(NamedTuple):
    """One entry of a list of facts."""

    term: str
    text: str
    code: bool = False


def headline(data: ReportData) -> str:
    """Return such as "Wind speed at 12 stations, next 3 days, issued "; the issue time follows."""
    titles = [clean(variable.title) for variable in data.variables]
    titles = titles[:1] + [t[:1].lower() + t[1:] if t[1:2].islower() else t for t in titles[1:]]
    stations = {series.station_id for variable in data.variables for series in variable.stations}
    steps = max((len(valid_times(variable)) for variable in data.variables), default=0)
    ahead = f"next {steps_text(steps, data.step)}" if steps else "no forecast times"
    return f"{listed(titles) or 'No variables'} at {plural(len(stations), data.location_kind)}, {ahead}, issued "


def level_title(level: FallbackLevel) -> str:
    """Return the label of a fallback level as a heading."""
    return level.label[0].upper() + level.label[1:]


def level_note(data: ReportData) -> str:
    """Return the fallback level of this forecast, why a better one was not used, and what is missing."""
    level, reason = data.fallback_level, clean(data.fallback_reason)
    sentences = [f"Fallback level {level} of {max(FallbackLevel)}."]
    if not reason or level < FallbackLevel.BASELINE:
        sentences.append(level.description)
    if reason:
        sentences.append(f"{reason[:1].upper()}{reason[1:]}.")
    if level == FallbackLevel.CHAMPION_WITH_GAPS:
        sentences += _missing(data) or ["Some earlier observations are missing."]
    return " ".join(sentences)


def _missing(data: ReportData) -> list[str]:
    stations = [shown_name(name) for name in data.data.missing_stations]
    total = len({series.station_id for variable in data.variables for series in variable.stations})
    found = []
    if len(stations) > _NAMED:
        found.append(f"No current value at {number(len(stations), 0)} of {plural(total, data.location_kind)}.")
    elif stations:
        found.append(f"No current value at {listed(stations)}.")
    if data.data.missing_covariates:
        found.append(f"No future values of {listed([clean(name) for name in data.data.missing_covariates])}.")
    return found


def interval_text(cell: PointForecast, decimals: int) -> str:
    """Return the ends of an interval, joined by a dash, or by "to" if one is negative."""
    between = " to " if min(cell.low, cell.high) < 0 else UNKNOWN
    return number(cell.low, decimals) + between + number(cell.high, decimals)


def extremes(variable: VariableForecast, found: list[PointForecast], share: float, decimals: int, when: str) -> str:
    """Return where the median is highest and lowest; empty with fewer than two stations to compare."""
    known = [item for item in zip(found, variable.stations, strict=True) if math.isfinite(item[0].median)]
    if len(known) < 2:
        return ""
    top, highest = max(known, key=lambda item: item[0].median)
    bottom, lowest = min(known, key=lambda item: item[0].median)
    most = quantity(top.median, decimals, variable.units)
    least = quantity(bottom.median, decimals, variable.units)
    sentence = f"For {when} the median is highest at {shown_name(highest.name)}, {most}"
    if math.isfinite(top.low + top.high) and math.isfinite(share):
        sentence += f" ({percent(share)} interval {interval_text(top, decimals)})"
    return f"{sentence}, and lowest at {shown_name(lowest.name)}, {least}."


def skill_decimals(skill: tuple[LeadSkill, ...]) -> int:
    """Return the decimals for scores: one more than for values of their size, so that differences show."""
    scores = [
        s for entry in skill for s in (entry.crps, *(value for _, value in entry.baseline_crps)) if math.isfinite(s)
    ]
    return decimals_for(max(scores, default=1.0)) + 1


def _mean(pairs: list[tuple[float, int]]) -> float:
    known = [(value, count) for value, count in pairs if math.isfinite(value) and count > 0]
    total = sum(count for _, count in known)
    return sum(value * count for value, count in known) / total if total else math.nan


def skill_note(variable: VariableForecast) -> str:
    """Return the skill in one to three sentences, over the leads at which model and baseline both have scores."""
    count = sum(entry.count for entry in variable.skill)
    if count == 0:
        return "Not verified yet: there are no observations for the forecast times."
    period = f" {clean(variable.skill_period)}" if variable.skill_period else ""
    sentences = [f"{plural(count, 'forecast value')} verified{period}."]
    gains = {}
    for name in baseline_names(variable.skill):
        both = [(e, dict(e.baseline_crps).get(name, math.nan)) for e in variable.skill]
        both = [(e, value) for e, value in both if math.isfinite(value) and math.isfinite(e.crps)]
        base = _mean([(value, e.count) for e, value in both])
        if base > 0:
            gains[name] = 1 - _mean([(e.crps, e.count) for e, _ in both]) / base
    if gains:
        best = min(gains, key=lambda name: gains[name])
        gain = gains[best]
        compared = f"{percent(abs(gain))} {'lower' if gain >= 0 else 'higher'}"
        sentences.append(f"Over all leads, the CRPS is {compared} than that of the best baseline, {shown_name(best)}.")
    covered = _mean([(entry.coverage, entry.count) for entry in variable.skill])
    if math.isfinite(covered):
        nominal = percent(variable.nominal_coverage)
        sentences.append(f"The {nominal} interval contained {percent(covered)} of the observations.")
    return " ".join(sentences)


def model_facts(model: ModelFacts) -> list[Fact]:
    """Return the facts about the model."""
    facts = [Fact("Forecast made by", shown_name(model.served_by))] if model.served_by else []
    facts.append(Fact("Champion", shown_name(model.name) if model.name else "none in use"))
    facts.append(Fact("Registry version", clean(model.version) or "not registered"))
    facts.append(Fact("Digest", clean(model.digest).removeprefix("sha256:")[:12] or "none", bool(model.digest)))
    facts.append(Fact("Trained on data until", instant_text(model.trained_through)))
    facts.append(Fact("Gate verdict", clean(model.gate_verdict) or "not recorded"))
    if model.intervals:
        shares = [
            f"{percent(share)} in the {percent(nominal)} interval" for nominal, share in reversed(model.intervals)
        ]
        facts.append(Fact("Held-out observations", ", ".join(shares)))
    return facts


def data_facts(report: ReportData) -> list[Fact]:
    """Return the facts about the observations."""
    data, step = report.data, report.step
    newest = instant_text(data.newest_observation)
    by_name = report.time_label == "start" or not isinstance(step, timedelta)
    if data.newest_observation is not None and by_name:
        newest = f"{period_text(data.newest_observation, step, 'start')} (period ended {newest})"
    age = duration_text(data.input_age) if data.input_age is not None else "unknown"
    missing = [shown_name(name) for name in data.missing_stations]
    return [
        Fact("Data known by", instant_text(data.as_of)),
        Fact("Newest observation", newest),
        Fact("Input age", f"{age} at issue time" if data.input_age is not None else age),
        Fact(f"Last {duration_text(data.counted_over)}", counts_text(data)),
        Fact("Newest values missing at", listed(missing) or f"no {report.location_kind}"),
    ]


def counts_text(data: DataFacts) -> str:
    """Return such as "288 rows added, 4 revised, 2 refused"."""
    revised, refused = number(data.revised, 0), number(data.refused, 0)
    return f"{plural(data.added, 'row')} added, {revised} revised, {refused} refused"
