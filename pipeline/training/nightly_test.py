"""The gate's test of two recipes, which every night repeats: on the first night's cases alone, and sequentially."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.training.batch_test import can_compare, compare_groups
from pipeline.training.sequential import compare_sequentially


def nightly_p_values(
    challenger: NDArray[np.float64],
    rival: NDArray[np.float64],
    batch: int,
    overlap: int,
    *,
    significance: float,
    challengers: int,
) -> NDArray[np.float64]:
    """Return the anytime-valid p-value that the challenger is not better, once each case is known: (..., case).

    The first night's cases are many at once, on which a sequential test is slow to decide. So half of the level goes to
    a test of these alone, and half to the sequential test, to which every night adds. Both halves are shared by all
    that may challenge (Bonferroni). A pair with too few cases for the first test is not tested at all.

    Args:
        challenger: (..., case) scores in order of time, finite.
        rival: (..., case) scores of the rival.
        batch: Number of cases of the first night; before them nothing is known, and the p-value is 1.
        overlap: Largest number of consecutive cases whose forecasts are open at once.
        significance: Level at which the gate decides.
        challengers: Number of recipes that may ever challenge.
    """
    p_values = np.ones(challenger.shape)
    if not can_compare(batch, overlap):
        return p_values
    shares = 2 * challengers
    first = compare_groups(challenger[..., :batch], rival[..., :batch], overlap)
    nightly = compare_sequentially(challenger, rival, overlap, significance=significance / shares)
    best = np.maximum.accumulate(np.maximum(nightly.e_values, 1), axis=-1)
    combined = shares * np.minimum(np.asarray(first)[..., None], 1 / best)
    p_values[..., batch - 1 :] = np.minimum(combined, 1)[..., batch - 1 :]
    return p_values
