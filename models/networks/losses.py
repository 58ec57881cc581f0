"""Losses of point, quantile and parametric forecasts, value by value; masks are the caller's, by multiplication.

All are finite, with finite gradients, wherever their arguments are, so a masked entry times zero teaches nothing.
Deviations must be positive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.special import erfcx, ndtr

_LOG_2 = math.log(2)
_LOG_ROOT_2_PI = 0.5 * math.log(2 * math.pi)
# A truth this close to a limit lies on it: rounding apart, in units of the climatic deviation.
_TOUCH = 1e-4


def squared(forecast: Tensor, truth: Tensor) -> Tensor:
    """Squared error."""
    return (forecast - truth).square()


def absolute(forecast: Tensor, truth: Tensor) -> Tensor:
    """Absolute error."""
    return (forecast - truth).abs()


def huber(forecast: Tensor, truth: Tensor, delta: float = 1.0) -> Tensor:
    """Half the squared error up to `delta`, beyond it linear with slope `delta` (Huber 1964)."""
    return torch.nn.functional.huber_loss(forecast, truth, reduction="none", delta=delta)


def pinball(quantiles: Tensor, truth: Tensor, levels: Tensor, widths: Tensor) -> Tensor:
    """Twice the pinball loss, integrated over levels: the continuous ranked probability score, (...).

    Args:
        quantiles: (..., level).
        truth: (...), any finite number where unknown.
        levels: (level,), ascending in (0, 1).
        widths: (level,), weight of each level in the integral; see `dressing.level_widths`.
    """
    error = truth.unsqueeze(-1) - quantiles
    return 2 * torch.maximum(levels * error, (levels - 1) * error) @ widths


def normal_crps(mean: Tensor, deviation: Tensor, truth: Tensor) -> Tensor:
    """Continuous ranked probability score of a normal distribution (Gneiting et al. 2005, equation 5)."""
    return deviation * _standard_crps((truth - mean) / deviation)


def normal_log_score(mean: Tensor, deviation: Tensor, truth: Tensor) -> Tensor:
    """Negative logarithm of the density of a normal distribution."""
    return 0.5 * ((truth - mean) / deviation).square() + deviation.log() + _LOG_ROOT_2_PI


def censored_crps(mean: Tensor, deviation: Tensor, truth: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The same score of a normal whose mass beyond the limits lies on them (Jordan et al. 2019, appendix A).

    Args:
        mean: of the normal before censoring.
        deviation: of the same.
        truth: beyond a limit it costs its distance from there on top.
        low: lower limit, -inf for none.
        high: upper limit, inf for none.
    """
    inside = truth.clamp(low, high)
    standard = _standard_crps((inside - mean) / deviation)
    saved = _saved(high, mean, deviation, 1.0) + _saved(low, mean, deviation, -1.0)
    return (truth - inside).abs() + deviation * (standard + saved)


def censored_log_score(mean: Tensor, deviation: Tensor, truth: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Negative logarithm of the censored normal's density, or on a limit, of its mass there.

    Arguments as those of `censored_crps`; a truth on or beyond a limit counts as lying on it.
    """
    score = normal_log_score(mean, deviation, truth.clamp(low, high))
    for limit, sign in ((low, -1.0), (high, 1.0)):
        away = _away(limit, mean, deviation, sign)
        score = torch.where(sign * truth >= sign * limit - _TOUCH, -_log_ndtr(-away), score)
    return score


def area_weights(latitude: Sequence[float] | Tensor) -> Tensor:
    """Weight of each location in a mean over an area, (location,): the cosine of latitude, with mean 1."""
    cosine = torch.as_tensor(latitude, dtype=torch.float64).deg2rad().cos()
    return (cosine / cosine.mean()).float()


def _standard_crps(z: Tensor) -> Tensor:
    score: Tensor = z * (2 * ndtr(z) - 1) + 2 * _density(z) - 1 / math.sqrt(math.pi)
    return score


def _saved(limit: Tensor, mean: Tensor, deviation: Tensor, sign: float) -> Tensor:
    """What censoring at one limit adds to the score of the standard normal; 0 where there is no limit."""
    away = _away(limit, mean, deviation, sign)
    beyond = ndtr(-away)
    change = away * beyond.square() - 2 * _density(away) * beyond + ndtr(-math.sqrt(2) * away) / math.sqrt(math.pi)
    return torch.where(limit.isfinite(), change, 0.0)


def _away(limit: Tensor, mean: Tensor, deviation: Tensor, sign: float) -> Tensor:
    """Deviations from the mean to a limit, outwards; anything finite where there is none, so gradients stay finite."""
    return sign * (torch.where(limit.isfinite(), limit, 0.0) - mean) / deviation


def _density(z: Tensor) -> Tensor:
    return (-0.5 * z.square() - _LOG_ROOT_2_PI).exp()


def _log_ndtr(z: Tensor) -> Tensor:
    """Logarithm of the normal distribution function; unlike torch's, right far out in single precision."""
    tail = z < -1
    near = ndtr(torch.where(tail, 0.0, z)).log()
    outside = torch.where(tail, z, -1.0)
    far = erfcx(-outside / math.sqrt(2)).log() - _LOG_2 - 0.5 * outside.square()
    return torch.where(tail, far, near)
