"""Dressing by size of the forecast: small values are often certain, large ones are not.

The errors of wind, flow and counts depend on what is forecast, beyond what transforms and calendar explain. Offsets are
added to those of a dressing by the size of the mean, pooled over locations, at the leads where unseen forecasts gain.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.statistics.calibration import choose_weight, widening
from models.statistics.dressing import Dressing, error_quantiles, fit_dressing, pinball

CLASSES = 5
"""Classes of equally many forecasts."""
_WEIGHTS = (0.0, 0.5, 1.0)
# Number of errors from which a class weighs as much as all forecasts together.
_POOLING = 30.0
# Values that the classes are fitted on; more would hardly change them.
_MAX_VALUES = 2_000_000

Floats = NDArray[np.float32]


class PastForecasts(NamedTuple):
    """Means and standardised errors (n, lead, target, location) of past forecasts, errors NaN where unknown.

    `origins` (n,) are the frames from which the forecasts count their leads.
    """

    means: Floats
    errors: Floats
    origins: NDArray[np.int64]


def fit_dressing_by_size(levels: tuple[float, ...], seen: PastForecasts, unseen: PastForecasts | None) -> Dressing:
    """Return the dressing of errors on training data, corrected by forecasts that the model has not learnt from.

    Unseen errors widen all quantiles if they are larger, and decide at each lead whether the quantiles depend on the
    size of the forecast: only where the gain in CRPS exceeds its standard error. Without any, nothing does.
    """
    if unseen is None:
        return fit_dressing(levels, seen.errors)
    wider = np.float32(widening(seen.errors, unseen.errors))
    plain = fit_dressing(levels, seen.errors * wider)
    sized = _fit_classes(plain, levels, seen, wider)
    if not sized.by_size.any():
        return plain
    options = [replace(sized, by_size=sized.by_size * np.float32(weight)) for weight in _WEIGHTS]
    losses = np.stack([_losses(option, levels, unseen) for option in options])
    weight = choose_weight(losses, _WEIGHTS, unseen.origins)
    return replace(sized, by_size=sized.by_size * weight[:, None, None, None]) if weight.any() else plain


def _fit_classes(plain: Dressing, levels: tuple[float, ...], seen: PastForecasts, wider: np.float32) -> Dressing:
    """Return the dressing with the differences between the quantiles of each class and those of all forecasts."""
    step = max(1, seen.errors.size // _MAX_VALUES)
    means, errors = seen.means[::step], seen.errors[::step] * wider
    leads, targets = means.shape[1:3]
    sizes = np.zeros((leads, targets, CLASSES), np.float32)
    by_size = np.zeros((*sizes.shape, len(levels)), np.float32)
    for lead, target in np.ndindex(leads, targets):
        known = np.isfinite(errors[:, lead, target])
        mean, error = means[:, lead, target][known], errors[:, lead, target][known]
        if len(mean) < CLASSES:
            continue
        number = np.searchsorted(np.quantile(mean, np.arange(1, CLASSES) / CLASSES), mean)
        if not np.bincount(number, minlength=CLASSES).all():  # a constant forecast, or many equal ones
            continue
        pool, _ = error_quantiles(error[:, None], levels)
        for one in range(CLASSES):
            own, count = error_quantiles(error[number == one][:, None], levels)
            sizes[lead, target, one] = mean[number == one].mean()
            by_size[lead, target, one] = (own[0] - pool[0]) * count[0] / (count[0] + _POOLING)
    return replace(plain, sizes=sizes, by_size=by_size)


def _losses(dressing: Dressing, levels: tuple[float, ...], forecasts: PastForecasts) -> NDArray[np.float64]:
    """Return the CRPS of standardised errors by issue and lead, (n, lead), summed over what is known."""
    losses = []
    for start in range(0, len(forecasts.errors), 64):
        part = slice(start, start + 64)
        errors = forecasts.errors[part]
        loss = pinball(errors[..., None] - dressing.at(forecasts.means[part]), levels)
        losses.append(np.nansum(loss, axis=(2, 3), dtype=np.float64))
    return np.concatenate(losses)
