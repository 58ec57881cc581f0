"""A test that one recipe scores better than another on the held-out cases of one night."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

MOST_GROUPS = 12
FEWEST_GROUPS = 4
SHORTEST = 4
"""Shortest group, in overlaps."""


def can_compare(cases: int, overlap: int) -> bool:
    """Return whether there are enough cases for `compare_groups`."""
    return cases // (SHORTEST * overlap) >= FEWEST_GROUPS


def compare_groups(challenger: NDArray[np.float64], rival: NDArray[np.float64], overlap: int) -> NDArray[np.float64]:
    """Return the one-sided p-value of the hypothesis that the challenger does not score better: (...).

    The cases are divided into at most 12 consecutive groups, each four times as long as forecasts overlap or longer,
    and Student's t-test is applied to the mean differences of the groups (Ibragimov and Mueller 2010,
    doi:10.1198/jbes.2009.08046). Differences may be correlated within a group, and their variance may change from group
    to group, which makes the test conservative. With fewer than four groups the p-value is 1.

    Args:
        challenger: (..., case) scores in order of time, finite.
        rival: (..., case) scores of the rival.
        overlap: Number of consecutive cases whose forecasts overlap.
    """
    gains = rival - challenger
    if not can_compare(gains.shape[-1], overlap):
        return np.ones(gains.shape[:-1])
    groups = min(MOST_GROUPS, gains.shape[-1] // (SHORTEST * overlap))
    means = np.stack([part.mean(axis=-1) for part in np.array_split(gains, groups, axis=-1)], axis=-1)
    spread = means.std(axis=-1, ddof=1)
    statistic = np.divide(means.mean(axis=-1) * np.sqrt(groups), spread, out=np.zeros(spread.shape), where=spread > 0)
    p_value: NDArray[np.float64] = np.where(spread > 0, stats.t.sf(statistic, df=groups - 1), 1.0)
    return p_value
