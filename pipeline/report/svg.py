"""Pieces of SVG as text: elements, paths, and the estimated width of text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from pipeline.report.typography import clean

Point = tuple[float, float]

_NARROW = frozenset("iljtfI.,:;'!|()[]/ ·")
_WIDE = frozenset("mwMW@%—…")


def num(value: float) -> str:
    """Return a coordinate with at most one decimal.

    Raises:
        ValueError: it is NaN or infinite.
    """
    if not math.isfinite(value):
        raise ValueError("a coordinate is not finite")
    text = f"{value:.1f}"
    text = text.removesuffix(".0")
    return "0" if text == "-0" else text


def tag(name: str, *children: str, **attributes: str | float) -> str:
    """Return an element. Children are SVG already; attribute values are escaped; `_` becomes a hyphen."""
    parts = [name]
    for key, value in attributes.items():
        shown = num(value) if isinstance(value, (int, float)) else escape(clean(value), quote=True)
        label = key.rstrip("_")
        parts.append(f'{label.replace("_", "-")}="{shown}"')
    head = " ".join(parts)
    return f"<{head}>{''.join(children)}</{name}>" if children else f"<{head}/>"


def text(x: float, y: float, content: str, class_: str = "", anchor: str = "start") -> str:
    """Return a line of text, escaped."""
    extra: dict[str, str | float] = {}
    if class_:
        extra["class_"] = class_
    if anchor != "start":
        extra["text_anchor"] = anchor
    return tag("text", escape(clean(content)), x=x, y=y, **extra)


def title(content: str) -> str:
    """Return a title: the text on hover and for screen readers."""
    return tag("title", escape(clean(content)))


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> str:
    """Return a straight line."""
    return tag("path", class_=class_, d=f"M{num(x1)} {num(y1)}L{num(x2)} {num(y2)}")


def polyline(points: Sequence[Point], *, closed: bool = False) -> str:
    """Return path data through the points, in relative steps rounded to a tenth; empty without points."""
    if not points:
        return ""
    at = [(round(x * 10), round(y * 10)) for x, y in points]
    parts = [f"M{num(at[0][0] / 10)} {num(at[0][1] / 10)}"]
    last = at[0]
    for here in at[1:]:
        dx, dy = num((here[0] - last[0]) / 10), num((here[1] - last[1]) / 10)
        parts.append(f"l{dx}{dy}" if dy.startswith("-") else f"l{dx} {dy}")
        last = here
    return "".join(parts) + ("z" if closed else "")


def runs(values: Iterable[float]) -> list[tuple[int, int]]:
    """Return the half-open index ranges of consecutive finite values."""
    out: list[tuple[int, int]] = []
    start: int | None = None
    count = 0
    for index, value in enumerate(values):
        count = index + 1
        if math.isfinite(value):
            start = index if start is None else start
        elif start is not None:
            out.append((start, index))
            start = None
    if start is not None:
        out.append((start, count))
    return out


def text_width(content: str, size: float) -> float:
    """Return a slightly generous estimate of the width of sans-serif text, in the units of `size`."""
    total = 0.0
    for c in content:
        if c in _NARROW:
            total += 0.34
        elif c in _WIDE:
            total += 0.92
        elif ord(c) >= 0x2E80:
            total += 1.02
        else:
            total += 0.7 if c.isupper() else 0.58
    return total * size


def _opening(width: float, height: float, label: str) -> str:
    size = f'width="{num(width)}" height="{num(height)}" viewBox="0 0 {num(width)} {num(height)}"'
    return f'{size} role="img" aria-label="{escape(clean(label), quote=True)}">'


def drawing(width: float, height: float, label: str, *children: str) -> str:
    """Return an inline SVG that scales with its container; `label` is for screen readers."""
    return f'<svg class="chart" {_opening(width, height, label)}{"".join(children)}</svg>'


def standalone(width: float, height: float, label: str, styles: str, *children: str) -> str:
    """Return a complete SVG file with its own styles and background."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" {_opening(width, height, label)}'
    paper = tag("rect", class_="paper", width=width, height=height)
    return head + tag("style", escape(styles, quote=False)) + paper + "".join(children) + "</svg>\n"
