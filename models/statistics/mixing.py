"""Weights and width of a mean of quantile forecasts, by what held-out data say of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from models.statistics.dressing import level_widths

_SPREADS = tuple(0.7 * 1.03**step for step in range(35))
_STEPS = 50

Floats = NDArray[np.float32]


def best_weights(
    said: Floats, levels: tuple[float, ...], truth: Floats, known: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Weights (member, lead) on the simplex with the least pinball loss of the weighted mean.

    The loss is convex, and smooth where samples are many. Where nothing is known, or nothing better is
    found, weights are equal.

    Args:
        said: (member, n, lead, target, location, quantile).
        levels: of the last axis.
        truth: (n, lead, target, location).
        known: same shape, where the truth is known.
    """
    members, _, leads = said.shape[:3]
    scale = _scale(truth, known)
    out = np.full((members, leads), 1 / members, np.float32)
    for lead in range(leads):
        rows = known[:, lead]
        if not rows.any():
            continue
        unit = np.broadcast_to(scale[:, None], rows.shape)[rows]
        # Weights sum to 1, so errors of the mean are means of the errors.
        errors = (truth[:, lead][rows][:, None] - said[:, :, lead][:, rows]) / unit[:, None]
        out[:, lead] = _least(errors, levels)
    return out


def best_spread(mixed: Floats, levels: tuple[float, ...], truth: Floats, known: NDArray[np.bool_]) -> float:
    """The factor on all distances from the median that gives the least pinball loss.

    Args:
        mixed: (n, lead, target, location, quantile).
        levels: of the last axis, 0.5 among them.
        truth: (n, lead, target, location).
        known: same shape, where the truth is known.
    """
    unit = np.broadcast_to(_scale(truth, known)[:, None], truth.shape)[known][:, None]
    quantiles, middle = mixed[known], levels.index(0.5)
    losses = [_loss((truth[known][:, None] - widened(quantiles, one, middle)) / unit, levels) for one in _SPREADS]
    return _SPREADS[int(np.argmin(losses))]


def widened(quantiles: Floats, spread: float, middle: int) -> Floats:
    """Every distance from the median, at `middle` of the last axis, multiplied by `spread`."""
    median = quantiles[..., middle : middle + 1]
    return median + np.float32(spread) * (quantiles - median)


def _scale(truth: Floats, known: NDArray[np.bool_]) -> Floats:
    """Mean absolute deviation of each target, (target,), so that losses in different units add up."""
    count = np.maximum(known.sum((0, 1, 3)), 1)
    mean = np.where(known, truth, 0).sum((0, 1, 3), dtype=np.float64) / count
    away = np.where(known, np.abs(truth - mean[:, None]), 0).sum((0, 1, 3), dtype=np.float64) / count
    found: Floats = np.where(away > 0, away, 1.0).astype(np.float32)
    return found


def _loss(error: Floats, levels: tuple[float, ...]) -> float:
    """Pinball loss of errors (..., quantile), truth less forecast."""
    level = np.array(levels, np.float32)
    return float((np.maximum(level * error, (level - 1) * error) @ level_widths(levels)).mean(dtype=np.float64))


def _least(errors: Floats, levels: tuple[float, ...]) -> NDArray[np.float64]:
    """Weights (member,) of the least loss, from the errors (member, sample, quantile) of each member."""
    members, samples, size = errors.shape
    flat = errors.reshape(members, -1)
    level, widths = np.array(levels, np.float32), level_widths(levels)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        error = (weights.astype(np.float32) @ flat).reshape(samples, size)
        slope = flat @ (np.where(error > 0, level, level - 1) * widths).reshape(-1) / samples
        return _loss(error, levels), slope.astype(np.float64)

    equal = np.full(members, 1 / members)
    found = minimize(
        loss,
        equal,
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * members,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1, "jac": np.ones_like},
        options={"maxiter": _STEPS},
    )
    weights = np.clip(found.x, 0, 1)
    weights /= weights.sum()
    return weights if loss(weights)[0] < loss(equal)[0] else equal
