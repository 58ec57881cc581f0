"""A sensor that is stuck: the same value again and again (persistence test, WMO-No. 8, Vol. V, Ch. 1, 2018)."""

from __future__ import annotations

import numpy as np

from expectations.series import Ints, Series, segments

COMMON = 0.02
"""A value that makes up at least this share of the runs at half of the locations is natural, such as no rain."""
SELDOM, MOSTLY = 0.05, 0.5
"""Shares of values equal to the one before, below and above which runs are taken for short and for long by nature."""
SHORTEST = 12
"""Values of a run that are never too many."""


def run_lengths(series: Series, *, gap: int) -> Ints:
    """Return how many values the run of equal values has in which each stands; 0 for a missing value.

    A missing value does not end a run; a gap of more than `gap` steps does: what happened in it is not known.
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
    """Return how many equal values may stand together when nothing else is said; `day` is the steps of a day.

    Twelve where neighbouring values are seldom equal, else a day, and two where most are, as of a quantity that is told
    in coarse steps; never fewer than twelve.
    """
    ties = share_of_ties(series)
    return max(SHORTEST, SHORTEST if ties < SELDOM else day if ties < MOSTLY else 2 * day)


def share_of_runs(series: Series, value: float) -> float:
    """Return the share of the runs of equal values that are of one value, the median over locations.

    A sensor that is dead at a value for years has but one such run, where nature has many.
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
    """Return how often a value equals the one before, the median over locations; 0 without values."""
    seen = series.present()
    bounds = segments(seen.location)
    if len(bounds) < 2:
        return 0.0
    ties = np.zeros(len(seen), np.int64)
    ties[1:] = (seen.value[1:] == seen.value[:-1]) & (seen.location[1:] == seen.location[:-1])
    return float(np.median(np.add.reduceat(ties, bounds[:-1]) / np.maximum(np.diff(bounds) - 1, 1)))
