"""Distribution drift: the values of a batch are distributed differently from those of the last weeks.

The distance is the Kolmogorov-Smirnov statistic of anomalies from the mean at each time of day, so that a batch of a
few hours is compared fairly. Successive values are correlated, so samples count with their effective size
n (1 - r) / (1 + r), r the lag-1 autocorrelation (Wilks 2011, Statistical Methods in the Atmospheric Sciences, 5.2.4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from expectations.series import Floats, Ints, Series

MIN_SIZE = 8.0
"""Smallest effective size of a sample that is tested."""
CRITICAL = 1.95
"""Critical value at the 0.1 % level; for samples of n and m, times sqrt((n + m) / (n m))."""
MOST_LOCATIONS = 500
"""Most locations tested; of more, as in a grid, an even selection is."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Medians over the tested locations of the distance and of the distance that chance explains."""

    locations: int
    """Number of locations tested."""
    distance: float = 0.0
    chance: float = 0.0


def drift(batch: Series, recent: Series, *, day: int) -> Drift:
    """Return the distance of the values of a batch from those of the last weeks: 0 for equal distributions, at most 1.

    `day` is the number of steps per day, 1 where a step is a day or longer. O(n log n).
    """
    now, before = batch.present(), recent.present()
    shared = np.intersect1d(now.location, before.location)
    chosen = shared[np.unique(np.linspace(0, len(shared) - 1, min(len(shared), MOST_LOCATIONS)).astype(np.int64))]
    found: list[tuple[float, float]] = []
    for location in chosen:
        new, old = (_at(series, int(location)) for series in (now, before))
        one, other = _anomalies(new, old, day)
        sizes = effective_size(one), effective_size(other)
        if min(sizes) >= MIN_SIZE:
            found.append((distance(one, other), CRITICAL * float(np.sqrt(1 / sizes[0] + 1 / sizes[1]))))
    if not found:
        return Drift(0)
    middle = np.median(np.array(found), axis=0)
    return Drift(len(found), float(middle[0]), float(middle[1]))


def distance(one: Floats, other: Floats) -> float:
    """Return the Kolmogorov-Smirnov statistic of two samples: the largest distance of their distribution functions."""
    from scipy.stats import ks_2samp  # slow to import, and needed by this check alone

    with np.errstate(divide="ignore"):  # in the p-value, which is not used, of samples of one value
        return float(ks_2samp(one, other, method="asymp").statistic)


def effective_size(values: Floats) -> float:
    """Return the number of independent values worth as much as these, which are in order of time; 1 for a constant."""
    if len(values) < 3:
        return float(len(values))
    anomaly = values - values.mean()
    total = float(anomaly @ anomaly)
    if total == 0:
        return 1.0
    r = min(max(float(anomaly[1:] @ anomaly[:-1]) / total, 0.0), 1.0)
    return len(values) * (1 - r) / (1 + r)


def _at(series: Series, location: int) -> Series:
    low, high = np.searchsorted(series.location, [location, location + 1])
    return Series(series.location[low:high], series.step[low:high], series.value[low:high])


def _anomalies(new: Series, old: Series, day: int) -> tuple[Floats, Floats]:
    """Return values minus the old mean at their time of day, without new values at times of day that have none."""
    if day <= 1:
        return new.value, old.value
    hours, where = np.unique(old.step % day, return_inverse=True)
    usual = np.bincount(where, old.value) / np.bincount(where)
    at: Ints = np.searchsorted(hours, new.step % day).clip(max=len(hours) - 1)
    known = hours[at] == new.step % day
    return (new.value - usual[at])[known], old.value - usual[where]
