"""What held-out data say of a fitted model: how far to trust it, and how wide its errors really are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_WIDEST = 4.0
# A share of the loss that is no gain, but the last bits of it.
_ROUNDING = 1e-5


def half_trusted(ratio: float) -> float:
    """The factor to widen by where held-out errors are `ratio` times the expected ones; never below 1.

    One validation period is one draw of the future, so half of what it says, on a log scale, is believed.
    """
    return float(np.sqrt(np.clip(ratio, 1.0, _WIDEST)))


def widening(seen: NDArray[np.float32], unseen: NDArray[np.float32]) -> float:
    """`half_trusted` for errors (any shape, NaN where unknown) on data learnt from and on held-out data."""
    inside, outside = seen[np.isfinite(seen)], unseen[np.isfinite(unseen)]
    if not len(inside) or not len(outside):
        return 1.0
    return half_trusted(float(np.abs(outside).mean()) / max(float(np.abs(inside).mean()), 1e-6))


def choose_share(losses: NDArray[np.floating], shares: tuple[float, ...]) -> NDArray[np.float32]:
    """Per lead the share with the least loss, or the first where the gain over it may be chance.

    Args:
        losses: (share, issue, lead), issues in order of time.
        shares: the candidates; the first is the safe one.
    """
    _, issues, leads = losses.shape
    chosen = np.full(leads, shares[0], np.float32)
    for lead in range(leads):
        gains = losses[0, :, lead] - losses[1:, :, lead]
        best = int(gains.mean(1).argmax())
        # Forecasts of overlapping periods err together: about one issue in lead + 1 is independent.
        error = gains[best].std() * np.sqrt((lead + 1) / max(issues, 1))
        if gains[best].mean() > error + _ROUNDING * abs(float(losses[0, :, lead].mean())):
            chosen[lead] = shares[best + 1]
    return chosen
