"""Scores of quantile forecasts as functions of arrays. A score is NaN where the truth is NaN.

Shapes: quantiles (..., quantile), truth (...). CRPS is twice the integral of the pinball loss over the quantile level
(Gneiting and Ranjan 2011, doi:10.1198/jbes.2010.08110), by the trapezoidal rule over the published levels and the ends
0 and 1, where the loss is 0: a weighted sum of proper scores, hence proper for the published quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


def pinball(quantiles: NDArray[np.float32], truth: NDArray[np.float32], levels: tuple[float, ...]) -> Float:
    """Return the pinball loss at each level, in units of the truth: (..., quantile)."""
    error = truth[..., None].astype(np.float64) - quantiles
    level = np.asarray(levels)
    return np.asarray(np.maximum(level * error, (level - 1) * error))


def crps(quantiles: NDArray[np.float32], truth: NDArray[np.float32], levels: tuple[float, ...]) -> Float:
    """Return the continuous ranked probability score, in units of the truth: (...)."""
    edges = np.concatenate([[0.0], levels, [1.0]])
    weights = edges[2:] - edges[:-2]
    error = truth[..., None].astype(np.float64) - quantiles
    # The weighted sum of the pinball losses level * error - min(error, 0), without an array of them.
    return np.asarray(error @ (np.asarray(levels) * weights) - np.minimum(error, 0) @ weights)


def covered(quantiles: NDArray[np.float32], truth: NDArray[np.float32]) -> Float:
    """Return 1 where the truth is inside the widest interval, 0 outside, NaN where it is unknown: (...)."""
    inside = (truth >= quantiles[..., 0]) & (truth <= quantiles[..., -1])
    return np.where(np.isnan(truth), np.nan, inside.astype(np.float64))


def intervals(levels: Sequence[float]) -> tuple[tuple[int, int], ...]:
    """Return the positions of the ends of each central interval that quantile levels offer, the widest first.

    An interval is central if the levels of its ends add up to 1.
    """
    return tuple(
        (low, high)
        for low, below in enumerate(levels)
        for high, above in enumerate(levels)
        if low < high and abs(below + above - 1) < 1e-9
    )


def nominal_coverages(levels: Sequence[float]) -> tuple[float, ...]:
    """Return the nominal probability of each interval."""
    return tuple(round(levels[high] - levels[low], 9) for low, high in intervals(levels))


def nominal_coverage(levels: tuple[float, ...]) -> float:
    """Return the nominal probability of the widest interval."""
    return levels[-1] - levels[0]
