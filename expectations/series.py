"""Observations of many locations as series: ordered by location, then time; quantiles and spread by group.

Times are whole steps of the feed's grid. A missing value is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Series:
    """Values of one variable, ordered by location, then step; one value per key."""

    location: Ints
    """Index of the location of each value."""
    step: Ints
    """Steps since the start of the time grid."""
    value: Floats

    def present(self) -> Series:
        """Return the series without its missing values."""
        here = ~np.isnan(self.value)
        return self if here.all() else self.where(here)

    def where(self, keep: Bools) -> Series:
        """Return the values that `keep` marks."""
        return Series(self.location[keep], self.step[keep], self.value[keep])

    def __len__(self) -> int:
        return len(self.value)


def in_order(location: Ints, step: Ints) -> NDArray[np.intp]:
    """Return the order by location, then step; equal keys keep their order."""
    by_step = np.argsort(step, kind="stable")  # mostly sorted already, and then fast
    return by_step[by_location(location[by_step])]


def by_location(location: Ints) -> NDArray[np.intp]:
    """Return the order by location; equal ones keep their order."""
    small = len(location) and location.min() >= 0 and location.max() < 2**16  # NumPy sorts 16-bit integers by radix
    return np.argsort(location.astype(np.uint16) if small else location, kind="stable")


def segments(groups: Ints) -> Ints:
    """Return where each group begins, and the length at the end; equal groups are adjacent."""
    begins = np.flatnonzero(groups[1:] != groups[:-1]) + 1
    return np.concatenate([[0], begins, [len(groups)]]).astype(np.int64) if len(groups) else np.zeros(1, np.int64)


def quantiles(groups: Ints, values: Floats, level: float = 0.5) -> tuple[Ints, Floats, Ints]:
    """Return each group, a quantile of its values with linear interpolation, and their number.

    Equal groups are adjacent, and no value is NaN.
    """
    bounds = segments(groups)
    counts = np.diff(bounds)
    if not len(counts):
        return groups[:0], values[:0], counts
    if (counts == counts[0]).all():
        return groups[bounds[:-1]], np.quantile(values.reshape(len(counts), -1), level, axis=1), counts
    if len(counts) * 50 < len(groups):  # few groups: selecting beats sorting
        found = [np.quantile(values[low:high], level) for low, high in pairwise(bounds)]
        return groups[bounds[:-1]], np.array(found), counts
    ranked = values[np.lexsort((values, np.repeat(np.arange(len(counts)), counts)))]
    at = level * (counts - 1)
    below, above = bounds[:-1] + np.floor(at).astype(np.int64), bounds[:-1] + np.ceil(at).astype(np.int64)
    return groups[bounds[:-1]], ranked[below] + (ranked[above] - ranked[below]) * (at - np.floor(at)), counts


def spread(groups: Ints, values: Floats) -> tuple[Floats, Floats, Ints]:
    """Return, for each value, the median of its group, a robust standard deviation of it, and the group's size.

    The robust standard deviation is the larger of two that agree for normal values: 1.4826 times the median absolute
    deviation from the median (Rousseeuw and Croux 1993), and 1/1.96 of the 95 % quantile of the absolute deviation, so
    that a quantity with long tails does not look faulty. Equal groups are adjacent, and no value is NaN.
    """
    _, middle, counts = quantiles(groups, values)
    center = np.repeat(middle, counts)
    away = np.abs(values - center)
    _, half, _ = quantiles(groups, away)
    _, most, _ = quantiles(groups, away, 0.95)
    return (
        center,
        np.repeat(np.where(half > 0, np.maximum(1.4826 * half, most / 1.96), 0.0), counts),
        np.repeat(counts, counts),
    )
