"""From degrees to pixels: equirectangular, true at the middle latitude, whole across the antimeridian."""

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
        """Position in pixels of a point on the box's own turn of the circle."""
        x = self.left + (longitude - self.box.west) * self.cosine * self.scale
        return x, self.top + (self.box.north - latitude) * self.scale

    @property
    def rect(self) -> Rect:
        """Edges in pixels."""
        right, bottom = self.xy(self.box.east, self.box.south)
        return Rect(self.left, self.top, right, bottom)


def unwrap(longitudes: list[float]) -> list[float]:
    """The longitudes on one turn, cut open at their widest gap: neighbours across 180 degrees stay so."""
    turned = [(value + 180) % 360 - 180 for value in longitudes]
    ordered = sorted(set(turned))
    gaps = [b - a for a, b in zip(ordered, [*ordered[1:], ordered[0] + 360], strict=True)]
    start = ordered[(gaps.index(max(gaps)) + 1) % len(ordered)]
    return [value if value >= start else value + 360 for value in turned]


def frame_for(longitudes: list[float], latitudes: list[float], left: float, top: float, width: float) -> Frame:
    """A frame of the given width with room around the stations, neither a tower nor a ribbon."""
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
    """Such as "53°N" or "8.5°W"; the equator and Greenwich have no letter."""
    turned = (value + 180) % 360 - 180 if positive == "E" else value
    shown = f"{abs(turned):.{decimals}f}°"
    return shown if float(shown[:-1]) in (0.0, 180.0) else shown + (positive if turned > 0 else negative)
