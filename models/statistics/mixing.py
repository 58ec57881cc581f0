"""Weights and spread of a mean of quantile forecasts, chosen on held-out data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from models.statistics.dressing import level_widths, pinball

_SPREADS = tuple(0.7 * 1.03**step for step in range(35))
_STEPS = 50

Floats = NDArray[np.float32]


def best_weights(
    forecasts: Floats, levels: tuple[float, ...], truth: Floats, known: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return the weights (member, lead) on the simplex with the least pinball loss of the weighted mean.

    The loss is convex, and smooth for large samples. Weights are equal where nothing is known or the search finds
    nothing better.

    Args:
        forecasts: (member, n, lead, target, location, quantile).
        levels: quantile levels of the last axis.
        truth: (n, lead, target, location).
        known: same shape, True where the truth is known.
    """
    members, _, leads = forecasts.shape[:3]
    scale = _scale(truth, known)
    out = np.full((members, leads), 1 / members, np.float32)
    for lead in range(leads):
        rows = known[:, lead]
        if not rows.any():
            continue
        unit = np.broadcast_to(scale[:, None], rows.shape)[rows]
        # Weights sum to 1, so the error of the mean is the mean of the errors.
        errors = (truth[:, lead][rows][:, None] - forecasts[:, :, lead][:, rows]) / unit[:, None]
        out[:, lead] = _minimise(errors, levels)
    return out


def best_spread(mixed: Floats, levels: tuple[float, ...], truth: Floats, known: NDArray[np.bool_]) -> float:
    """Return the factor on all distances from the median with the least pinball loss.

    Args:
        mixed: (n, lead, target, location, quantile).
        levels: quantile levels of the last axis, including 0.5.
        truth: (n, lead, target, location).
        known: same shape, True where the truth is known.
    """
    unit = np.broadcast_to(_scale(truth, known)[:, None], truth.shape)[known][:, None]
    quantiles, middle = mixed[known], levels.index(0.5)
    losses = [_loss((truth[known][:, None] - widen(quantiles, one, middle)) / unit, levels) for one in _SPREADS]
    return _SPREADS[int(np.argmin(losses))]


def widen(quantiles: Floats, spread: float, middle: int) -> Floats:
    """Return quantiles with every distance from the median, at position `middle`, multiplied by `spread`."""
    median = quantiles[..., middle : middle + 1]
    return median + np.float32(spread) * (quantiles - median)


def _scale(truth: Floats, known: NDArray[np.bool_]) -> Floats:
    """Return the mean absolute deviation of each target, (target,), which makes losses of different units additive."""
    count = np.maximum(known.sum((0, 1, 3)), 1)
    mean = np.where(known, truth, 0).sum((0, 1, 3), dtype=np.float64) / count
    deviation = np.where(known, np.abs(truth - mean[:, None]), 0).sum((0, 1, 3), dtype=np.float64) / count
    scale: Floats = np.where(deviation > 0, deviation, 1.0).astype(np.float32)
    return scale


def _loss(error: Floats, levels: tuple[float, ...]) -> float:
    """Return the mean pinball loss of errors (..., quantile), truth minus forecast."""
    return float(pinball(error, levels).mean(dtype=np.float64))


def _minimise(errors: Floats, levels: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the weights (member,) of least loss, from the errors (member, sample, quantile) of each member."""
    members, samples, size = errors.shape
    flat = errors.reshape(members, -1)
    level, widths = np.array(levels, np.float32), level_widths(levels)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        error = (weights.astype(np.float32) @ flat).reshape(samples, size)
        slope = flat @ (np.where(error > 0, level, level - 1) * widths).reshape(-1) / samples
        return _loss(error, levels), slope.astype(np.float64)

    equal = np.full(members, 1 / members)
    result = minimize(
        loss,
        equal,
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * members,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1, "jac": np.ones_like},
        options={"maxiter": _STEPS},
    )
    weights = np.clip(result.x, 0, 1)
    weights /= weights.sum()
    return weights if loss(weights)[0] < loss(equal)[0] else equal
