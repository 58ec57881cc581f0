"""Bar charts of the loss of accuracy without one group of inputs."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from pipeline.report import svg
from pipeline.report.basis_data import InputKind, InputLoss
from pipeline.report.ticks import nice_ticks, tick_decimals
from pipeline.report.typography import number, percent, shorten, shown_name

WIDTH = 300.0
MOST_BARS = 12
"""Most bars in a chart; of more groups, those with the greatest losses are drawn."""
SHOWN_ERRORS = 2
"""Standard errors on each side of a bar."""

_TOP, _BOTTOM, _ROW, _VALUES = 2.0, 22.0, 19.0, 46.0
_HEADINGS: dict[InputKind, str] = {
    "location": "Without one station",
    "region": "Without one region",
    "variable": "Without one variable",
    "lag": "Without observations of one age",
    "covariate": "Without one covariate",
}


def charts(losses: Sequence[InputLoss]) -> list[tuple[str, str, float, list[str]]]:
    """Return heading, description for screen readers, height and elements of a chart for each kind of group."""
    drawn = []
    for kind, heading in _HEADINGS.items():
        known = [loss for loss in losses if loss.kind == kind and math.isfinite(loss.loss)]
        chosen = sorted(known, key=lambda loss: -loss.loss)[:MOST_BARS] if len(known) > MOST_BARS else known
        if kind != "lag":
            chosen = sorted(chosen, key=lambda loss: -loss.loss)
        if not chosen:
            continue
        title = heading + (f", {len(chosen)} of {len(known)}" if len(chosen) < len(known) else "")
        label = f"{title}: {', '.join(f'{shown_name(one.title)} {loss_text(one.loss)}' for one in chosen)}."
        drawn.append((title, label, _height(chosen), _bars(chosen)))
    return drawn


def loss_text(loss: float) -> str:
    """Return a loss in percent with one decimal, such as "+3.1 %"."""
    return percent(loss, sign=True, decimals=1)


def short_title(loss: InputLoss) -> str:
    """Return the title of a group for a chart whose heading says what the groups are."""
    title = shown_name(loss.title)
    if loss.kind == "lag":
        return title.removeprefix("the ").removeprefix("values ").removesuffix(" the newest")
    if loss.kind == "region":  # as for "cells 50.25 to 51.75° N, 12 to 10° W"
        return shorten(re.sub(r"(?<=\d) to (?=[\d.]+°)", "\N{EN DASH}", title.removeprefix("cells ")), 34)
    return shorten(title, 24)


def _height(losses: Sequence[InputLoss]) -> float:
    return _TOP + _ROW * len(losses) + _BOTTOM


def _bars(losses: Sequence[InputLoss]) -> list[str]:
    names = [short_title(loss) for loss in losses]
    left = 8 + max(svg.text_width(name, 10) for name in names)
    right, bottom = WIDTH - _VALUES, _height(losses) - _BOTTOM
    ends = [_interval(loss) for loss in losses]
    low, high = min(0.0, *(low for low, _ in ends)), max(0.001, *(high for _, high in ends))
    every = nice_ticks(100 * low, 100 * high, 3)
    ticks, decimals = [tick for tick in every if tick >= 100 * low], tick_decimals(every)

    def x(loss: float) -> float:
        return left + (right - left) * (100 * (loss - low)) / (every[-1] - 100 * low)

    body = []
    for tick in ticks:
        at = x(tick / 100)
        body.append(svg.line(at, _TOP, at, bottom, "axis" if tick == 0 else "grid"))
        body.append(svg.text(at, bottom + 14, f"{number(tick, decimals)} %", "tick", "middle"))
    for row, (loss, name, (least, most)) in enumerate(zip(losses, names, ends, strict=True)):
        y = _TOP + _ROW * (row + 0.5)
        start, end = sorted((x(0.0), x(loss.loss)))
        hint = svg.title(f"{shown_name(loss.title)}: {loss_text(loss.loss)}")
        style = "band3" if loss.is_clear else "band1"
        body.append(svg.tag("rect", hint, class_=style, x=start, y=y - 6, width=max(end - start, 0.5), height=12))
        if most > least:
            body.append(svg.line(x(least), y, x(most), y, "seen"))
        body.append(svg.text(left - 6, y + 3.5, name, "tick", "end"))
        body.append(svg.text(WIDTH, y + 3.5, loss_text(loss.loss), "value" if loss.is_clear else "tick", "end"))
    return body


def _interval(loss: InputLoss) -> tuple[float, float]:
    error = SHOWN_ERRORS * loss.error if math.isfinite(loss.error) else 0.0
    return loss.loss - error, loss.loss + error
