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


def choose_weight(
    losses: NDArray[np.floating], weights: tuple[float, ...], origins: NDArray[np.integer]
) -> NDArray[np.float32]:
    """Return the weight with the least loss at each lead, or the first where the gain over it may be chance.

    Args:
        losses: (weight, issue, lead), issues in order of time.
        weights: the candidates, the safe one first.
        origins: (issue,), the frame from which each issue counts its leads.
    """
    leads = losses.shape[2]
    independent = independent_issues(origins, leads)
    chosen = np.full(leads, weights[0], np.float32)
    for lead in range(leads):
        gains = losses[0, :, lead] - losses[1:, :, lead]
        best = int(gains.mean(1).argmax())
        error = gains[best].std() / np.sqrt(independent[lead])
        if gains[best].mean() > error + _ROUNDING * abs(float(losses[0, :, lead].mean())):
            chosen[lead] = weights[best + 1]
    return chosen


def independent_issues(origins: NDArray[np.integer], leads: int) -> NDArray[np.float64]:
    """Return how many of the issues are independent at each lead, (lead,).

    Errors of overlapping forecasts are correlated. A forecast overlaps with all later ones that are issued before its
    target time, so an issue counts as its distance to the next one, divided by the lead and at most 1: where issues
    follow each other frame by frame, one in `lead` is independent. The last one counts as the mean of the others.

    Args:
        origins: (issue,), the frame from which each issue counts its leads, in ascending order.
        leads: number of leads.
    """
    distance = np.diff(origins) if len(origins) > 1 else np.ones(1)
    share = np.minimum(distance[:, None] / np.arange(1, leads + 1), 1).mean(0)
    independent: NDArray[np.float64] = np.maximum(len(origins) * share, 1 / leads)
    return independent
