"""Buddy check: a value disagrees with its neighbours.

After the buddy check of TITAN (Båserud et al. 2020, TITAN automatic spatial quality control of meteorological in-situ
observations, Adv. Sci. Res. 17, 153-163) and the spatial test of WMO-No. 8, Vol. V, Ch. 1. Stations differ from their
neighbours by their site, so the check tests the departure from the usual difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from expectations.series import Floats, Ints, Series, spread
from expectations.sphere import EARTH_KM, unit_vectors

MIN_BUDDIES = 3
MIN_HISTORY = 30
_CELLS = 50_000


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest other locations of each location, nearest first."""

    index: NDArray[np.intp]
    """Shape (location, neighbour); the number of locations means none."""
    weight: Floats
    """1 / distance, of the same shape; 0 for none."""


def neighbours(longitude: Floats, latitude: Floats, *, count: int, within_km: float) -> Neighbours:
    """Return the `count` nearest locations within a great-circle distance.

    Locations with the same coordinates count as 1 km apart. O(n log n).
    """
    from scipy.spatial import cKDTree

    points = unit_vectors(longitude, latitude)
    chord = 2 * np.sin(min(within_km / EARTH_KM, np.pi) / 2)
    distance, index = cKDTree(points).query(points, k=count + 1, distance_upper_bound=chord * (1 + 1e-12))
    own = index == np.arange(len(points))[:, None]
    own[~own.any(axis=1), -1] = True  # more locations share its coordinates than are asked for: drop the last
    keep = ~own
    index, distance = index[keep].reshape(-1, count), distance[keep].reshape(-1, count)
    with np.errstate(invalid="ignore"):
        arc = 2 * EARTH_KM * np.arcsin(np.minimum(np.where(np.isfinite(distance), distance, 0.0), 2.0) / 2)
    weight = np.where(np.isfinite(distance), 1 / np.maximum(arc, 1.0), 0.0)
    return Neighbours(index.astype(np.intp), weight)


def differences(series: Series, near: Neighbours) -> Floats:
    """Return each value minus the median of its neighbours at that step, weighted by 1 / distance.

    The weighted median is the value at which the weights of the sorted values reach half of their sum. The nearest
    neighbour never weighs as much as all others together, so that its fault cannot become theirs. NaN where the value
    is missing or fewer than three neighbours have one. Memory does not grow with the number of steps.
    """
    difference = np.full(len(series), np.nan)
    seen = np.flatnonzero(~np.isnan(series.value))
    column, reporting = _counted(series.step[seen])
    enough = reporting > MIN_BUDDIES
    if not enough.all():
        seen = seen[enough[column]]
        column = (np.cumsum(enough) - 1)[column[enough[column]]]
    locations = len(near.index)
    width = max(1, _CELLS // (locations + 1))  # steps per frame, so that a frame fits the cache of a processor
    frames = -(-int(enough.sum()) // width)
    which = column // width
    order = np.argsort(which.astype(np.uint16) if frames < 2**16 else which, kind="stable")
    edges = np.searchsorted(which[order], np.arange(frames + 1))
    index, weight = near.index.T * width, near.weight.T
    for first, last in pairwise(edges):
        rows = seen[order[first:last]]
        location, step, value = series.location[rows], column[order[first:last]] % width, series.value[rows]
        frame = np.full((locations + 1) * width, np.nan)
        frame[location * width + step] = value
        around = frame.take(index.take(location, axis=1) + step)
        difference[rows] = value - _weighted_median(around, weight.take(location, axis=1))
    return difference


def _counted(steps: Ints) -> tuple[Ints, Ints]:
    """Return a number for each step, in the order of steps, and the count of each number."""
    number = steps - steps.min(initial=np.iinfo(np.int64).max)
    if number.max(initial=0) > 4 * len(number):
        number = np.unique(number, return_inverse=True)[1]
    return number, np.bincount(number)


def _weighted_median(values: Floats, weights: Floats) -> Floats:
    """Return the weighted median of each column of (neighbour, value); NaN where fewer than three are present.

    It is the smallest value with at least half of the weight at or below it. Comparing a few neighbours pair by pair is
    faster than sorting many short columns.
    """
    missing = np.isnan(values)
    if missing.any():
        weights, values = np.where(missing, 0.0, weights), np.where(missing, np.inf, values)
    weight = np.minimum(weights, 0.95 * (weights.sum(axis=0) - weights))  # none outweighs all others
    half = weight.sum(axis=0) / 2 * (1 - 1e-12)
    below = weight.copy()  # of two equal ones, the first counts as the larger
    for one, other in combinations(range(len(values)), 2):
        less = values[other] <= values[one]
        below[one] += weight[other] * less
        below[other] += weight[one] * ~less
    middle = np.where(below >= half, values, np.inf).min(axis=0)
    return np.where((~missing).sum(axis=0) >= MIN_BUDDIES, middle, np.nan)


def departures(series: Series, near: Neighbours, *, floor: float) -> Floats:
    """Return the departure of each value from its neighbours, in robust standard deviations.

    With d the difference from the neighbours, and m and s its median and robust standard deviation at the location, it
    is |d - m| / max(s, floor). Where a location has fewer than 30 differences, m and s are those of all locations
    together. It is 0 where all of them have fewer than 30, and where max(s, floor) is 0.
    """
    departure = np.zeros(len(series))
    difference = differences(series, near)
    known = ~np.isnan(difference)
    d = difference[known]
    if len(d) < MIN_HISTORY:
        return departure
    center, scale, count = spread(series.location[known], d)
    few = count < MIN_HISTORY
    if few.any():
        every: Ints = np.zeros(len(d), np.int64)
        pooled, wide, _ = spread(every, d)
        center, scale = np.where(few, pooled, center), np.where(few, wide, scale)
    scale = np.maximum(scale, floor)
    usable = scale > 0
    departure[known] = np.where(usable, np.abs(d - center) / np.where(usable, scale, 1.0), 0.0)
    return departure
