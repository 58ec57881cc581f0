"""The section "What the forecast rests on": sentences, charts and a table by lead, ready for the template."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pipeline.report import svg
from pipeline.report.basis_chart import SHOWN_ERRORS, WIDTH, charts, loss_text
from pipeline.report.basis_data import Basis, InputLoss, InputMove
from pipeline.report.data import ReportData
from pipeline.report.section import evenly_spaced
from pipeline.report.series import valid_times
from pipeline.report.typography import (
    NBSP,
    UNKNOWN,
    clean,
    day_text,
    decimals_for,
    listed,
    number,
    percent,
    period_text,
    plural,
    quantity,
    shown_name,
    utc,
)

_MOST_COLUMNS = 3
_MOST_ROWS = 10
_MOST_WEIGHTS = 3
_EVEN = 1.25
"""Ratio of weights up to which they count as even."""
_WHOLE = 0.99
"""Sum from which weights count as complete."""

REDUNDANCY = (
    "Each group is withheld alone: of inputs that tell much the same, such as neighbouring stations, each shows a "
    "small loss, because the others stand in for it."
)
ATTENTION = "Attention tells where the network looks; it is not a measure of what the forecast rests on."


def without(losses: Sequence[InputLoss], lead: int, when: str) -> str:
    """Return such as "Without Birr the forecast for 14 Dec would be 3.1 % worse; without Clones 1.2 % worse.".

    Groups whose loss may be chance come first, in a sentence that says so.
    """
    clear = [loss for loss in losses if _is_clear(loss, lead)]
    sentences = [
        f"Without {shown_name(loss.title)} the forecast {when} is not shown to be better or worse: the difference may "
        "be chance."
        for loss in losses
        if not _is_clear(loss, lead)
    ]
    parts: list[str] = []
    for loss in clear:
        change = loss.by_lead[lead]
        verb = "" if parts else f" the forecast {when} would be"
        amount = f"{percent(abs(change), decimals=1)} {'worse' if change >= 0 else 'better'}"
        parts.append(f"{'without' if parts else 'Without'} {shown_name(loss.title)}{verb} {amount}")
    if parts:
        sentences.append(f"{parts[0]}{'; ' if parts[1:] else ''}{', '.join(parts[1:])}.")
    return " ".join(sentences)


def main_losses(losses: Sequence[InputLoss], lead: int) -> list[InputLoss]:
    """Return all input, then of each kind the group whose loss at a lead is greatest, if it is more than chance."""
    found = [loss for loss in losses[:1] if math.isfinite(loss.by_lead[lead])]
    for kind in dict.fromkeys(loss.kind for loss in losses if loss.kind != "all"):
        clear = [one for one in losses if one.kind == kind and one.by_lead[lead] > 0 and _is_clear(one, lead)]
        found += sorted(clear, key=lambda loss: -loss.by_lead[lead])[:1]
    return found


def _is_clear(loss: InputLoss, lead: int) -> bool:
    return abs(loss.by_lead[lead]) > SHOWN_ERRORS * loss.error_by_lead[lead]


def attention_note(frames: Sequence[tuple[str, float]], locations: Sequence[tuple[str, float]]) -> str:
    """Return where a network looks, from weights by title, and what that does not mean; empty without attention."""
    parts = []
    for axis, weights in (("time", frames), ("space", locations)):
        known = [weight for _, weight in weights if weight > 0]
        if known and sum(known) > _WHOLE and max(known) <= _EVEN * min(known):
            parts.append(f"The network's attention over {axis} is almost even.")
            continue
        greatest = sorted(weights, key=lambda one: -one[1])[:_MOST_WEIGHTS]
        shown = listed([f"{percent(weight)} to {shown_name(title)}" for title, weight in greatest])
        if shown:
            parts.append(f"Of its attention over {axis}, the network gives {shown}.")
    return " ".join([*parts, ATTENTION]) if parts else ""


def build_basis(data: ReportData) -> dict[str, Any] | None:
    """Return everything that the template needs for the section; None if the model was not explained."""
    basis = data.basis
    times = valid_times(data.variables[0]) if data.variables else []
    if basis is None or not basis.losses or len(times) != len(basis.losses[0].by_lead):
        return None
    when = [period_text(time, data.step, data.time_label) for time in times]
    found = without(main_losses(basis.losses, 0), 0, f"for {when[0]}")
    return {
        "measured": measured_text(basis, several=len(data.variables) > 1),
        "sentences": f"{found} {REDUNDANCY}".lstrip(),
        "panels": [
            {"heading": heading, "svg": svg.drawing(WIDTH, height, label, *body)}
            for heading, label, height, body in charts(basis.losses)
        ],
        "moves": [_move_text(move, data) for move in basis.moves],
        "attention": attention_note(basis.frame_weights, basis.location_weights),
        **_table(basis.losses, when),
    }


def measured_text(basis: Basis, *, several: bool) -> str:
    """Return on what the losses were measured, and how to read the charts."""
    first, last = (f"{day_text(end)} {utc(end).year}" for end in (basis.since, basis.until))
    mean = "mean CRPS, averaged over the variables," if several else "mean CRPS"
    return (
        f"By how much the {mean} of {plural(basis.issues, 'forecast')} from {first} to {last} rises when a group of "
        "inputs is withheld. Lines show two standard errors; a pale bar may be chance."
    )


def _move_text(move: InputMove, data: ReportData) -> str:
    decimals = decimals_for(abs(move.largest_change)) if move.largest_change else 1
    most = quantity(abs(move.largest_change), decimals, move.units)
    mean = quantity(move.mean_change, max(decimals, decimals_for(move.mean_change)), move.units)
    direction = "higher" if move.largest_change >= 0 else "lower"
    variable = clean(move.variable)
    name = variable[:1].lower() + variable[1:] if variable[1:2].islower() else variable
    when = period_text(move.valid_time, data.step, data.time_label)
    return (
        f"Without {shown_name(move.title)} the median of {name} would change by {mean} on average; most at "
        f"{shown_name(move.place)} for {when}, where it would be {most} {direction}."
    )


def _table(losses: Sequence[InputLoss], when: Sequence[str]) -> dict[str, Any]:
    columns = evenly_spaced(len(when), _MOST_COLUMNS)
    others = [loss for loss in losses if loss.kind != "all" and math.isfinite(loss.loss)]
    kept = sorted(others, key=lambda loss: -loss.loss)[:_MOST_ROWS]
    rows = []
    for loss in [*(loss for loss in losses if loss.kind == "all"), *kept]:
        pairs = [(loss.by_lead[column], loss.error_by_lead[column]) for column in columns]
        if len(when) > 1:
            pairs.append((loss.loss, loss.error))
        cells = [
            {"loss": loss_text(value).removesuffix(f"{NBSP}%"), "error": _error_text(error)} for value, error in pairs
        ]
        rows.append({"name": shown_name(loss.title), "cells": cells})
    caption = "Rise of the mean CRPS without a group of inputs, %, and two standard errors"
    if len(kept) < len(others):
        caption += f"; the {len(kept)} greatest of {len(others)} losses"
    headings = [f"For {when[column]}" for column in columns] + (["All times"] if len(when) > 1 else [])
    return {"rows": rows, "headings": headings, "caption": caption}


def _error_text(error: float) -> str:
    return f"±{NBSP}{number(100 * SHOWN_ERRORS * error, 1)}" if math.isfinite(error) else f"±{NBSP}{UNKNOWN}"
