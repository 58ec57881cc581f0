"""Calibration of a fitted model on held-out data: the width of its errors, and the weight it deserves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_WIDEST = 4.0
# Relative gains in loss below this are rounding errors.
_ROUNDING = 1e-5


def half_trusted(ratio: float) -> float:
    """Return the widening factor, at least 1, for held-out errors that are `ratio` times the expected ones.

    A validation period is one sample of the future, so half of the ratio is applied, on a log scale.
    """
    return float(np.sqrt(np.clip(ratio, 1.0, _WIDEST)))


def widening(seen: NDArray[np.float32], unseen: NDArray[np.float32]) -> float:
    """Return `half_trusted` for errors (any shape, NaN where unknown) on training data and on held-out data."""
    inside, outside = seen[np.isfinite(seen)], unseen[np.isfinite(unseen)]
    if not len(inside) or not len(outside):
        return 1.0
    return half_trusted(float(np.abs(outside).mean()) / max(float(np.abs(inside).mean()), 1e-6))


def choose_weight(losses: NDArray[np.floating], weights: tuple[float, ...]) -> NDArray[np.float32]:
    """Return the weight with the least loss at each lead, or the first where the gain over it may be chance.

    Args:
        losses: (weight, issue, lead), issues in order of time.
        weights: the candidates, the safe one first.
    """
    _, issues, leads = losses.shape
    chosen = np.full(leads, weights[0], np.float32)
    for lead in range(leads):
        gains = losses[0, :, lead] - losses[1:, :, lead]
        best = int(gains.mean(1).argmax())
        # Errors of overlapping forecasts are correlated: about one issue in lead + 1 is independent.
        error = gains[best].std() * np.sqrt((lead + 1) / max(issues, 1))
        if gains[best].mean() > error + _ROUNDING * abs(float(losses[0, :, lead].mean())):
            chosen[lead] = weights[best + 1]
    return chosen
