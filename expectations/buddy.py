"""A value that its neighbours do not bear out (buddy check).

After the buddy check of TITAN (Båserud et al. 2020, TITAN automatic spatial quality control of meteorological in-situ
observations, Adv. Sci. Res. 17, 153-163) and the spatial test of WMO-No. 8, Vol. V, Ch. 1. Stations differ from their
neighbours by where they stand, so what is judged is the departure from the usual difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from expectations.series import Floats, Ints, Series, spread

EARTH_KM = 6371.0
MIN_BUDDIES = 3
MIN_HISTORY = 30
_CELLS = 50_000  # of a frame worked on at a time: what a processor keeps close


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest other locations of each location, nearest first."""

    index: NDArray[np.intp]
    """Shape (location, neighbour); the number of locations stands for none."""
    weight: Floats
    """1 / distance, of the same shape; 0 for none."""


def neighbours(longitude: Floats, latitude: Floats, *, count: int, within_km: float) -> Neighbours:
    """Return the `count` nearest locations within a distance along the surface, by great circles.

    Locations at one place count as 1 km apart. O(n log n).
    """
    from scipy.spatial import cKDTree

    east, north = np.radians(longitude), np.radians(latitude)
    points = np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=1)
    chord = 2 * np.sin(min(within_km / EARTH_KM, np.pi) / 2)
    distance, index = cKDTree(points).query(points, k=count + 1, distance_upper_bound=chord * (1 + 1e-12))
    own = index == np.arange(len(points))[:, None]
    own[~own.any(axis=1), -1] = True  # more twins at its place than neighbours: the farthest goes
    keep = ~own
    index, distance = index[keep].reshape(-1, count), distance[keep].reshape(-1, count)
    with np.errstate(invalid="ignore"):
        arc = 2 * EARTH_KM * np.arcsin(np.minimum(np.where(np.isfinite(distance), distance, 0.0), 2.0) / 2)
    weight = np.where(np.isfinite(distance), 1 / np.maximum(arc, 1.0), 0.0)
    return Neighbours(index.astype(np.intp), weight)


def differences(series: Series, near: Neighbours) -> Floats:
    """Return each value less the median of its neighbours at that step, weighted by 1 / distance.

    The weighted median is the value at which the weights of the sorted values reach half of their sum; a neighbour
    that is nearer than all others weighs less than they do together, so that its fault is not theirs. NaN where the
    value is missing or fewer than three neighbours have one. Memory is flat.
    """
    told = np.full(len(series), np.nan)
    seen = np.flatnonzero(~np.isnan(series.value))
    if not len(seen):
        return told
    by_time = seen[np.argsort(series.step[seen], kind="stable")]
    places, at = len(near.index), series.step[by_time]
    begins = np.concatenate([[0], np.flatnonzero(np.diff(at)) + 1])
    ends = np.append(begins[1:], len(at))
    crowded = ends - begins > MIN_BUDDIES  # a step at which fewer report tells nothing
    begins, ends = begins[crowded], ends[crowded]
    frames = max(1, _CELLS // (places + 1))
    for first in range(0, len(begins), frames):
        low, high = begins[first : first + frames], ends[first : first + frames]
        rows = by_time[
            np.repeat(low - np.concatenate([[0], np.cumsum(high - low)[:-1]]), high - low)
            + np.arange((high - low).sum())
        ]
        frame = np.full((len(low), places + 1), np.nan)
        which = np.repeat(np.arange(len(low)), high - low)
        place = series.location[rows]
        frame[which, place] = series.value[rows]
        told[rows] = series.value[rows] - _weighted_median(
            frame[which, near.index.T[:, place]], near.weight.T[:, place]
        )
    return told


def _weighted_median(values: Floats, weights: Floats) -> Floats:
    """The weighted median of each column of (neighbour, value); NaN where fewer than three are present.

    It is the smallest value that at least half of the weight does not exceed. A handful of neighbours is compared pair
    by pair, which is faster than sorting many short columns.
    """
    here = ~np.isnan(values)
    weight = np.where(here, weights, 0.0)
    weight = np.minimum(weight, 0.95 * (weight.sum(axis=0) - weight))  # one alone never outweighs the others
    half = weight.sum(axis=0) / 2 * (1 - 1e-12)
    middle = np.full(values.shape[1], np.inf)
    for candidate in values:
        below = np.einsum("kn,kn->n", weight, values <= candidate)
        np.minimum(middle, np.where(below >= half, candidate, np.inf), out=middle)
    return np.where(here.sum(axis=0) >= MIN_BUDDIES, middle, np.nan)


def departures(series: Series, near: Neighbours, *, floor: float) -> Floats:
    """Return by how many robust standard deviations each value departs from what its neighbours let expect.

    With d the difference from the neighbours and m and s its median and robust standard deviation at the location,
    it is |d - m| / max(s, floor). Where a location has fewer than 30 differences, m and s are those of all locations
    together; where they have not 30 either, and where max(s, floor) is 0, nothing is judged: 0.
    """
    told = np.zeros(len(series))
    difference = differences(series, near)
    known = ~np.isnan(difference)
    d = difference[known]
    if len(d) < MIN_HISTORY:
        return told
    center, scale, count = spread(series.location[known], d)
    few = count < MIN_HISTORY
    if few.any():
        every: Ints = np.zeros(len(d), np.int64)
        pooled, wide, _ = spread(every, d)
        center, scale = np.where(few, pooled, center), np.where(few, wide, scale)
    scale = np.maximum(scale, floor)
    usable = scale > 0
    told[known] = np.where(usable, np.abs(d - center) / np.where(usable, scale, 1.0), 0.0)
    return told
