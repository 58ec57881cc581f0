"""The outline of land, clipped to a box of longitudes and latitudes. LAND.md names the source of the data."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

RESOLUTION_DEG = 360 / 65535


class Box(NamedTuple):
    """Edges in degrees; `east` may pass 180 for a box across the antimeridian."""

    west: float
    south: float
    east: float
    north: float


class _Rings(NamedTuple):
    points: Floats
    starts: npt.NDArray[np.int64]
    low: Floats
    high: Floats


@cache
def _load() -> _Rings:
    raw = files("pipeline.report").joinpath("land.npz").read_bytes()
    with np.load(BytesIO(raw), allow_pickle=False) as arrays:
        lon = np.cumsum(arrays["lon"], dtype=np.uint16)
        lat = np.cumsum(arrays["lat"], dtype=np.uint16)
        size = arrays["size"].astype(np.int64)
    points = np.column_stack([lon * (360 / 65535) - 180, lat * (180 / 65535) - 90])
    starts = np.concatenate([[0], np.cumsum(size)])
    low = np.minimum.reduceat(points, starts[:-1], axis=0)
    high = np.maximum.reduceat(points, starts[:-1], axis=0)
    return _Rings(points, starts, low, high)


def clip_half(ring: Floats, axis: int, limit: float, keep_above: bool) -> Floats:
    """Return the part of a closed ring on one side of a line, shape `(point, 2)` (Sutherland and Hodgman 1974)."""
    if len(ring) == 0:
        return ring
    here, there = ring, np.roll(ring, -1, axis=0)
    inside = (ring[:, axis] >= limit) if keep_above else (ring[:, axis] <= limit)
    inside_next = np.roll(inside, -1)
    change = there[:, axis] - here[:, axis]
    share = np.where(change == 0, 0.0, (limit - here[:, axis]) / np.where(change == 0, 1.0, change))
    crossing = here + share[:, None] * (there - here)
    crossing[:, axis] = limit
    both = np.stack([crossing, there], axis=1).reshape(-1, 2)
    kept: Floats = both[np.stack([inside != inside_next, inside_next], axis=1).reshape(-1)]
    return kept


def land_within(box: Box) -> list[Floats]:
    """Return the closed rings of land inside the box, each `(point, 2)` in degrees east and north.

    Longitudes are in the range of the box, which may pass 180.
    """
    rings = _load()
    out: list[Floats] = []
    for turn in (-360.0, 0.0, 360.0):
        west, east = box.west - turn, box.east - turn
        touching = (rings.high[:, 0] >= west) & (rings.low[:, 0] <= east)
        touching &= (rings.high[:, 1] >= box.south) & (rings.low[:, 1] <= box.north)
        for index in np.flatnonzero(touching):
            ring = rings.points[rings.starts[index] : rings.starts[index + 1]]
            for axis, limit, keep_above in (
                (0, west, True),
                (0, east, False),
                (1, box.south, True),
                (1, box.north, False),
            ):
                ring = clip_half(ring, axis, limit, keep_above)
            if len(ring) >= 3:
                out.append(ring + np.array([turn, 0.0]))
    return out


def simplify(ring: Floats, least: float) -> Floats:
    """Return the ring without points closer than `least` to the last point kept."""
    kept = [0]
    x, y = ring[0]
    square = least * least
    for index, (px, py) in enumerate(ring.tolist()):
        if (px - x) ** 2 + (py - y) ** 2 >= square:
            kept.append(index)
            x, y = px, py
    return ring[kept]
