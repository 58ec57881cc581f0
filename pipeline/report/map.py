"""The map of stations: equirectangular, true to scale at its middle latitude, dots coloured by value."""

from __future__ import annotations

import math
from typing import NamedTuple

from pipeline.report import svg
from pipeline.report.labels import LabelPosition, place_labels
from pipeline.report.land import RESOLUTION_DEG, Box, land_within, simplify
from pipeline.report.projection import Frame, degrees_text, frame_for, unwrap
from pipeline.report.ticks import nice_step, nice_ticks, tick_decimals
from pipeline.report.typography import number, shorten

CLASSES = 7
KM_PER_DEGREE = 111.195

_GRID_DEG = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0)
_DOT = 5.5
_FONT = 11.5


class Station(NamedTuple):
    """A dot: its name, its text on hover, its position in degrees, and its value."""

    name: str
    hover: str
    latitude: float
    longitude: float
    value: float


class DrawnMap(NamedTuple):
    """A drawn map, and whether its dots have numbers (positions in the list, from 1) instead of names."""

    svg: str
    numbered: bool


def _grid_values(low: float, high: float, most: int) -> tuple[list[float], int]:
    rough = (high - low) / most
    step = next((s for s in _GRID_DEG if s >= rough), 90.0) if rough > 0.5 else nice_step(rough)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step), math.floor(high / step)
    return [index * step for index in range(first, last + 1)], decimals


def _graticule(frame: Frame) -> list[str]:
    r = frame.rect
    out = []
    meridians, decimals = _grid_values(frame.box.west, frame.box.east, max(2, round((r.right - r.left) / 95)))
    for value in meridians:
        x = frame.xy(value, 0)[0]
        out.append(svg.line(x, r.top, x, r.bottom, "grat"))
        out.append(svg.text(x, r.bottom + 14, degrees_text(value, "E", "W", decimals), "tick", "middle"))
    parallels, decimals = _grid_values(frame.box.south, frame.box.north, max(2, round((r.bottom - r.top) / 80)))
    for value in parallels:
        y = frame.xy(0, value)[1]
        out.append(svg.line(r.left, y, r.right, y, "grat"))
        out.append(svg.text(r.left - 6, y + 3.5, degrees_text(value, "N", "S", decimals), "tick", "end"))
    return out


def _land(frame: Frame) -> str:
    box, margin = frame.box, 3 / frame.scale
    wider = Box(
        box.west - margin / frame.cosine,
        box.south - margin,
        box.east + margin / frame.cosine,
        box.north + margin,
    )
    parts = []
    for ring in land_within(wider):
        pixels = ring.copy()
        pixels[:, 0] = frame.left + (ring[:, 0] - box.west) * frame.cosine * frame.scale
        pixels[:, 1] = frame.top + (box.north - ring[:, 1]) * frame.scale
        kept = simplify(pixels, 0.9)
        if len(kept) >= 3:
            parts.append(svg.polyline([(x, y) for x, y in kept.tolist()], closed=True))
    return svg.tag("path", class_="land", fill_rule="evenodd", d="".join(parts)) if parts else ""


def separate(dots: list[svg.Point], reach: float) -> list[svg.Point]:
    """Move dots on the same pixel onto a small ring around it, so that each is visible."""
    groups: dict[tuple[int, int], list[int]] = {}
    for index, (x, y) in enumerate(dots):
        groups.setdefault((round(x), round(y)), []).append(index)
    out = list(dots)
    for members in groups.values():
        radius = reach * max(1.0, len(members) / 4) if len(members) > 1 else 0.0
        for order, index in enumerate(members):
            angle = 2 * math.pi * order / len(members)
            x, y = dots[index]
            out[index] = (x + radius * math.cos(angle), y + radius * math.sin(angle))
    return out


def colour_edges(values: list[float]) -> list[float]:
    """Return round edges of at most `CLASSES` colour classes that contain every value."""
    if not values:
        return [0.0, 1.0]
    edges = nice_ticks(min(values), max(values), CLASSES)
    return edges if len(edges) <= CLASSES + 1 else nice_ticks(min(values), max(values), CLASSES - 1)


def value_class(value: float, edges: list[float]) -> str:
    """Return the style of a dot: `v0` (lowest) to `v6` (highest), or `vx` for an unknown value."""
    if not math.isfinite(value):
        return "vx"
    count = len(edges) - 1
    index = sum(value >= edge for edge in edges[1:-1])
    return f"v{round(index * (CLASSES - 1) / max(1, count - 1))}"


def _legend(edges: list[float], caption: str, frame: Frame, top: float, missing: bool) -> list[str]:
    left, right = frame.rect.left, frame.rect.right
    count = len(edges) - 1
    step = min(44.0, max(24.0, (right - left) * 0.46 / count))
    decimals = tick_decimals(edges)
    out = [svg.text(left, top, caption, "note")]
    for index in range(count):
        style = value_class((edges[index] + edges[index + 1]) / 2, edges)
        out.append(svg.tag("rect", class_=style, x=left + index * step, y=top + 8, width=step, height=9))
    for index, edge in enumerate(edges):
        out.append(svg.text(left + index * step, top + 29, number(edge, decimals), "tick", "middle"))
    if missing:
        x = left + count * step + 22
        out.append(svg.tag("circle", class_="dot vx", cx=x, cy=top + 12.5, r=_DOT))
        out.append(svg.text(x + 10, top + 16, "no value", "tick"))
    return out


def _scale_bar(frame: Frame, top: float) -> list[str]:
    left, right = frame.rect.left, frame.rect.right
    kilometres = (right - left) * 0.24 / frame.scale * KM_PER_DEGREE
    length = nice_step(kilometres / 2.5)
    bar = length / KM_PER_DEGREE * frame.scale
    shown = f"{number(length, 0)} km" if length >= 1 else f"{number(length * 1000, 0)} m"
    y = top + 17
    return [
        svg.tag("path", class_="scale", d=f"M{svg.num(right - bar)} {svg.num(y - 5)}v5h{svg.num(bar)}v-5"),
        svg.text(right, y + 12, shown, "tick", "end"),
    ]


def _names(
    frame: Frame, dots: list[svg.Point], stations: list[Station]
) -> tuple[list[LabelPosition | None], list[str], bool]:
    names = [shorten(station.name, 34) for station in stations]
    widths = [svg.text_width(name, _FONT) for name in names]
    spots = place_labels(dots, widths, radius=_DOT + 1, size=_FONT, frame=frame.rect)
    lost, led = sum(spot is None for spot in spots), sum(spot is not None and spot.far for spot in spots)
    if lost == 0 and led <= max(1.0, 0.2 * len(spots)):
        return spots, names, False
    numbers = [str(index + 1) for index in range(len(stations))]
    widths = [svg.text_width(name, _FONT) for name in numbers]
    return place_labels(dots, widths, radius=_DOT + 1, size=_FONT, frame=frame.rect), numbers, True


def station_map(stations: list[Station], *, caption: str, label: str, width: float) -> DrawnMap | None:
    """Return the map as inline SVG; None if no station has coordinates.

    Stations without coordinates are left out but still count in the numbering.
    """
    kept = [i for i, s in enumerate(stations) if math.isfinite(s.longitude) and abs(s.latitude) <= 90]
    if not kept:
        return None
    longitudes = unwrap([stations[i].longitude for i in kept])
    latitudes = [stations[i].latitude for i in kept]
    frame = frame_for(longitudes, latitudes, 48, 8, width - 56)
    dots = separate([frame.xy(x, y) for x, y in zip(longitudes, latitudes, strict=True)], _DOT + 0.5)
    spots, names, numbered = _names(frame, dots, [stations[i] for i in kept])
    if numbered:
        names = [str(i + 1) for i in kept]
    values = [stations[i].value for i in kept if math.isfinite(stations[i].value)]
    edges = colour_edges(values)
    r = frame.rect
    coarse = RESOLUTION_DEG * frame.cosine * frame.scale > 6
    size: dict[str, float] = {"x": r.left, "y": r.top, "width": r.right - r.left, "height": r.bottom - r.top}
    body = [svg.tag("rect", class_="plain" if coarse else "sea", **size)]
    if not coarse:
        view = f"{svg.num(r.right - r.left)} {svg.num(r.bottom - r.top)}"
        inner = {"viewBox": f"{svg.num(r.left)} {svg.num(r.top)} {view}", "class_": "clip"}
        body.append(svg.tag("svg", _land(frame), **size, **inner))
    body += _graticule(frame)
    body.append(svg.tag("rect", class_="edge", **size))
    for (x, y), spot in zip(dots, spots, strict=True):
        if spot and spot.far:
            near = (
                min(max(x, spot.rect.left), spot.rect.right),
                min(max(y, spot.rect.top + 3), spot.rect.bottom - 3),
            )
            body.append(svg.line(x, y, *near, "leader"))
    for i, (x, y) in zip(kept, dots, strict=True):
        style = f"dot {value_class(stations[i].value, edges)}"
        body.append(svg.tag("circle", svg.title(stations[i].hover), class_=style, cx=x, cy=y, r=_DOT))
    for name, spot in zip(names, spots, strict=True):
        if spot:
            body.append(svg.text(spot.x, spot.y, name, "place"))
    foot = r.bottom + 36
    if values:
        body += _legend(edges, caption, frame, foot, len(values) < len(kept))
    body += _scale_bar(frame, foot)
    return DrawnMap(svg.drawing(width, foot + 34, label, *body), numbered)
