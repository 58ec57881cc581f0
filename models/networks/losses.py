"""Elementwise losses of point, quantile and parametric forecasts.

All losses and their gradients are finite wherever the arguments are, so callers mask missing values by multiplying with
0. Standard deviations must be positive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.special import erfcx, ndtr

_LOG_2 = math.log(2)
_LOG_ROOT_2_PI = 0.5 * math.log(2 * math.pi)
# A truth this close to a limit counts as lying on it, in units of the climatic standard deviation.
_AT_LIMIT = 1e-4


def squared(forecast: Tensor, truth: Tensor) -> Tensor:
    """Return the squared error."""
    return (forecast - truth).square()


def absolute(forecast: Tensor, truth: Tensor) -> Tensor:
    """Return the absolute error."""
    return (forecast - truth).abs()


def huber(forecast: Tensor, truth: Tensor, delta: float = 1.0) -> Tensor:
    """Return the Huber loss: half the squared error up to `delta`, linear beyond it (Huber 1964)."""
    return torch.nn.functional.huber_loss(forecast, truth, reduction="none", delta=delta)


def pinball(quantiles: Tensor, truth: Tensor, levels: Tensor, widths: Tensor) -> Tensor:
    """Return twice the pinball loss integrated over levels, which approximates the CRPS, (...).

    Args:
        quantiles: (..., level).
        truth: (...), any finite number where unknown.
        levels: (level,), ascending in (0, 1).
        widths: (level,), weight of each level in the integral; see `dressing.level_widths`.
    """
    error = truth.unsqueeze(-1) - quantiles
    return 2 * torch.maximum(levels * error, (levels - 1) * error) @ widths


def normal_crps(mean: Tensor, deviation: Tensor, truth: Tensor) -> Tensor:
    """Return the CRPS of a normal distribution (Gneiting et al. 2005, equation 5)."""
    return deviation * _standard_crps((truth - mean) / deviation)


def normal_log_score(mean: Tensor, deviation: Tensor, truth: Tensor) -> Tensor:
    """Return the negative log density of a normal distribution."""
    return 0.5 * ((truth - mean) / deviation).square() + deviation.log() + _LOG_ROOT_2_PI


def censored_crps(mean: Tensor, deviation: Tensor, truth: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return the CRPS of a censored normal distribution (Jordan et al. 2019, appendix A).

    Args:
        mean: mean of the distribution before censoring.
        deviation: its standard deviation.
        truth: the observation; its distance beyond a limit is added to the score.
        low: lower limit, -inf for none.
        high: upper limit, inf for none.
    """
    inside = truth.clamp(low, high)
    standard = _standard_crps((inside - mean) / deviation)
    change = _censoring(high, mean, deviation, 1.0) + _censoring(low, mean, deviation, -1.0)
    return (truth - inside).abs() + deviation * (standard + change)


def censored_log_score(mean: Tensor, deviation: Tensor, truth: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return the negative log density of a censored normal distribution, or on a limit, of its mass there.

    Arguments as for `censored_crps`; a truth on or beyond a limit counts as lying on it.
    """
    score = normal_log_score(mean, deviation, truth.clamp(low, high))
    for limit, sign in ((low, -1.0), (high, 1.0)):
        distance = _distance(limit, mean, deviation, sign)
        score = torch.where(sign * truth >= sign * limit - _AT_LIMIT, -_log_ndtr(-distance), score)
    return score


def area_weights(latitude: Sequence[float] | Tensor) -> Tensor:
    """Return the area weight of each location, (location,): the cosine of latitude, scaled to mean 1."""
    cosine = torch.as_tensor(latitude, dtype=torch.float64).deg2rad().cos()
    return (cosine / cosine.mean()).float()


def _standard_crps(z: Tensor) -> Tensor:
    score: Tensor = z * (2 * ndtr(z) - 1) + 2 * _density(z) - 1 / math.sqrt(math.pi)
    return score


def _censoring(limit: Tensor, mean: Tensor, deviation: Tensor, sign: float) -> Tensor:
    """Return the change of the standard normal's CRPS by censoring at one limit; 0 where there is no limit."""
    z = _distance(limit, mean, deviation, sign)
    beyond = ndtr(-z)
    change = z * beyond.square() - 2 * _density(z) * beyond + ndtr(-math.sqrt(2) * z) / math.sqrt(math.pi)
    return torch.where(limit.isfinite(), change, 0.0)


def _distance(limit: Tensor, mean: Tensor, deviation: Tensor, sign: float) -> Tensor:
    """Return the distance from the mean outwards to a limit, in standard deviations; finite where there is none."""
    return sign * (torch.where(limit.isfinite(), limit, 0.0) - mean) / deviation


def _density(z: Tensor) -> Tensor:
    return (-0.5 * z.square() - _LOG_ROOT_2_PI).exp()


def _log_ndtr(z: Tensor) -> Tensor:
    """Return the log of the normal distribution function; unlike torch's, accurate in the tail in float32."""
    tail = z < -1
    near = ndtr(torch.where(tail, 0.0, z)).log()
    outside = torch.where(tail, z, -1.0)
    far = erfcx(-outside / math.sqrt(2)).log() - _LOG_2 - 0.5 * outside.square()
    return torch.where(tail, far, near)
