"""Persistence test: a sensor repeats the same value (WMO-No. 8, Vol. V, Ch. 1, 2018)."""

from __future__ import annotations

import numpy as np

from expectations.series import Ints, Series, segments

COMMON = 0.02
"""A value with at least this share of the runs at half of the locations is natural, such as no rain."""
SELDOM, MOSTLY = 0.05, 0.5
"""Shares of values equal to the one before: below the first, runs are short by nature; above the second, long."""
SHORTEST = 12
"""Length that a run may always have."""


def run_lengths(series: Series, *, gap: int) -> Ints:
    """Return for each value the length of its run of equal values; 0 for a missing value.

    A missing value does not end a run; a gap of more than `gap` steps does, because nobody knows what happened in it.
    Linear in the number of values.
    """
    lengths = np.zeros(len(series), np.int64)
    seen = series.present()
    if not len(seen):
        return lengths
    new = (
        (seen.value[1:] != seen.value[:-1])
        | (seen.location[1:] != seen.location[:-1])
        | (np.diff(seen.step) > max(gap, 1))
    )
    counts = np.diff(np.concatenate([[0], np.flatnonzero(new) + 1, [len(seen)]]))
    lengths[~np.isnan(series.value)] = np.repeat(counts, counts)
    return lengths


def longest_natural_run(series: Series, *, day: int) -> int:
    """Return the longest run of equal values that is natural for a variable; `day` is the number of steps per day.

    It is 12 values where successive values are seldom equal, two days where most are, as in a quantity reported in
    coarse steps, and a day in between; never fewer than 12.
    """
    ties = share_of_ties(series)
    return max(SHORTEST, SHORTEST if ties < SELDOM else day if ties < MOSTLY else 2 * day)


def share_of_runs(series: Series, value: float) -> float:
    """Return the share of the runs of equal values that have one value, the median over locations.

    A dead sensor has a single long run of its value, where nature has many.
    """
    seen = series.present()
    if not len(seen):
        return 0.0
    new = np.ones(len(seen), np.bool_)
    new[1:] = (seen.value[1:] != seen.value[:-1]) | (seen.location[1:] != seen.location[:-1])
    runs = seen.where(new)
    bounds = segments(runs.location)
    return float(np.median(np.add.reduceat((runs.value == value).astype(np.int64), bounds[:-1]) / np.diff(bounds)))


def share_of_ties(series: Series) -> float:
    """Return the share of values equal to the one before, the median over locations; 0 without values."""
    seen = series.present()
    bounds = segments(seen.location)
    if len(bounds) < 2:
        return 0.0
    ties = np.zeros(len(seen), np.int64)
    ties[1:] = (seen.value[1:] == seen.value[:-1]) & (seen.location[1:] == seen.location[:-1])
    return float(np.median(np.add.reduceat(ties, bounds[:-1]) / np.maximum(np.diff(bounds) - 1, 1)))
