"""Distribution drift: the values of a batch are spread otherwise than those of the last weeks.

The distance is that of Kolmogorov and Smirnov between anomalies from the usual value at that time of day, so that a
batch of a few hours is compared fairly. Neighbouring values are alike, so samples count by their effective size
n (1 - r) / (1 + r), r the lag-1 autocorrelation (Wilks 2011, Statistical Methods in the Atmospheric Sciences, 5.2.4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from expectations.series import Floats, Ints, Series

MIN_SIZE = 8.0
"""Effective size of a sample below which nothing is judged."""
CRITICAL = 1.95
"""Of the Kolmogorov-Smirnov distance at the 0.1 % level, times sqrt((n + m) / n m) for samples of n and m."""
MOST_LOCATIONS = 500
"""Locations looked at; of more, as of a grid, an even selection."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Median over the judged locations of the distance, and of the distance that chance allows."""

    judged: int
    distance: float = 0.0
    chance: float = 0.0


def drift(batch: Series, recent: Series, *, day: int) -> Drift:
    """Return how far the values of a batch are from those of the last weeks, 0 alike to 1 apart.

    `day` is the number of steps of a day, 1 where a step is a day or longer. O(n log n).
    """
    now, before = batch.present(), recent.present()
    shared = np.intersect1d(now.location, before.location)
    chosen = shared[np.unique(np.linspace(0, len(shared) - 1, min(len(shared), MOST_LOCATIONS)).astype(np.int64))]
    found: list[tuple[float, float]] = []
    for place in chosen:
        new, old = (_of(series, int(place)) for series in (now, before))
        one, other = _anomalies(new, old, day)
        sizes = effective_size(one), effective_size(other)
        if min(sizes) >= MIN_SIZE:
            found.append((distance(one, other), CRITICAL * float(np.sqrt(1 / sizes[0] + 1 / sizes[1]))))
    if not found:
        return Drift(0)
    middle = np.median(np.array(found), axis=0)
    return Drift(len(found), float(middle[0]), float(middle[1]))


def distance(one: Floats, other: Floats) -> float:
    """Return the largest difference between the two empirical distribution functions."""
    one, other = np.sort(one), np.sort(other)
    every = np.concatenate([one, other])
    ranks = [np.searchsorted(sample, every, side="right") / len(sample) for sample in (one, other)]
    return float(np.abs(ranks[0] - ranks[1]).max())


def effective_size(values: Floats) -> float:
    """Return how many independent values tell as much as these, in order of time; constant ones tell as one."""
    if len(values) < 3:
        return float(len(values))
    away = values - values.mean()
    total = float(away @ away)
    if total == 0:
        return 1.0
    r = min(max(float(away[1:] @ away[:-1]) / total, 0.0), 1.0)
    return len(values) * (1 - r) / (1 + r)


def _of(series: Series, place: int) -> Series:
    low, high = np.searchsorted(series.location, [place, place + 1])
    return Series(series.location[low:high], series.step[low:high], series.value[low:high])


def _anomalies(new: Series, old: Series, day: int) -> tuple[Floats, Floats]:
    """Values less the mean of the old ones at their time of day; new ones at times that the old lack are left out."""
    if day <= 1:
        return new.value, old.value
    hours, where = np.unique(old.step % day, return_inverse=True)
    usual = np.bincount(where, old.value) / np.bincount(where)
    at: Ints = np.searchsorted(hours, new.step % day).clip(max=len(hours) - 1)
    known = hours[at] == new.step % day
    return (new.value - usual[at])[known], old.value - usual[where]
