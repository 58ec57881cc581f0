"""From degrees to pixels: equirectangular, true at the middle latitude, continuous across the antimeridian."""

from __future__ import annotations

import math
from typing import NamedTuple

from pipeline.report.labels import Rect
from pipeline.report.land import Box
from pipeline.report.svg import Point

_LEAST_SPAN_DEG = 0.008


class Frame(NamedTuple):
    """A box of the globe drawn at `left`, `top` with `scale` pixels per degree of latitude."""

    box: Box
    cosine: float
    left: float
    top: float
    scale: float

    def xy(self, longitude: float, latitude: float) -> Point:
        """Return the position in pixels of a point; longitudes are in the range of the box."""
        x = self.left + (longitude - self.box.west) * self.cosine * self.scale
        return x, self.top + (self.box.north - latitude) * self.scale

    @property
    def rect(self) -> Rect:
        """Edges in pixels."""
        right, bottom = self.xy(self.box.east, self.box.south)
        return Rect(self.left, self.top, right, bottom)


def unwrap(longitudes: list[float]) -> list[float]:
    """Return the longitudes in one range of 360 degrees that starts after their widest gap.

    Neighbours across the antimeridian stay neighbours.
    """
    turned = [(value + 180) % 360 - 180 for value in longitudes]
    ordered = sorted(set(turned))
    gaps = [b - a for a, b in zip(ordered, [*ordered[1:], ordered[0] + 360], strict=True)]
    start = ordered[(gaps.index(max(gaps)) + 1) % len(ordered)]
    return [value if value >= start else value + 360 for value in turned]


def frame_for(longitudes: list[float], latitudes: list[float], left: float, top: float, width: float) -> Frame:
    """Return a frame of the given width with a margin around the stations and a bounded aspect ratio."""
    south, north = min(latitudes), max(latitudes)
    middle, centre = (south + north) / 2, (min(longitudes) + max(longitudes)) / 2
    cosine = max(math.cos(math.radians(middle)), 0.05)
    across = max((max(longitudes) - min(longitudes)) * cosine * 1.3, _LEAST_SPAN_DEG)
    along = max((north - south) * 1.24, _LEAST_SPAN_DEG)
    across, along = max(across, along * 0.95), max(along, across / 1.6)
    across = min(across, 360 * cosine)
    along = min(along, 180.0)
    middle = min(max(middle, along / 2 - 90), 90 - along / 2)
    box = Box(centre - across / cosine / 2, middle - along / 2, centre + across / cosine / 2, middle + along / 2)
    return Frame(box, cosine, left, top, width / across)


def degrees_text(value: float, positive: str, negative: str, decimals: int) -> str:
    """Return such as "53°N" or "8.5°W"; the equator and the prime meridian have no letter."""
    turned = (value + 180) % 360 - 180 if positive == "E" else value
    shown = f"{abs(turned):.{decimals}f}°"
    return shown if float(shown[:-1]) in (0.0, 180.0) else shown + (positive if turned > 0 else negative)
