"""Error dressing: quantiles from a point forecast and the past errors of its model."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from models.base import State, take
from models.task import Task

# Number of errors from which one location weighs as much as the pool of all locations.
_POOLING = 30.0


@dataclass(frozen=True, slots=True)
class Dressing:
    """Quantiles of past standardised errors by lead, target and location, and how they depend on the mean.

    Attributes:
        offsets: (lead, target, location, quantile), non-decreasing along the last axis.
        sizes: (lead, target, class), ascending means at which `by_size` holds; none where nothing depends on the mean.
        by_size: (lead, target, class, quantile), what is added to the offsets, interpolated between the sizes.
    """

    offsets: NDArray[np.float32]
    sizes: NDArray[np.float32]
    by_size: NDArray[np.float32]

    @classmethod
    def of(cls, offsets: NDArray[np.float32]) -> Dressing:
        """Return a dressing that does not depend on the mean."""
        leads, targets, _, levels = offsets.shape
        sizes = np.zeros((leads, targets, 0), np.float32)
        return cls(offsets, sizes, np.zeros((*sizes.shape, levels), np.float32))

    def __call__(self, mean: NDArray[np.float32], deviation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return quantiles (n, lead, target, location, quantile) around `mean`, all as standardised anomalies."""
        return mean[..., None] + deviation[..., None] * self.at(mean)

    def at(self, mean: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the offsets (n or 1, lead, target, location, quantile) for means (n, lead, target, location)."""
        if not self.by_size.any():
            return self.offsets[None]
        offsets = np.broadcast_to(self.offsets, (*mean.shape, self.offsets.shape[-1])).copy()
        for lead, target in zip(*np.nonzero(self.by_size.any(axis=(2, 3))), strict=True):
            offsets[:, lead, target] += _interpolate(
                mean[:, lead, target], self.sizes[lead, target], self.by_size[lead, target]
            )
        return ordered(offsets)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays from which `from_state` builds an equal dressing."""
        return {"offsets": self.offsets, "sizes": self.sizes, "by_size": self.by_size}

    @classmethod
    def from_state(cls, task: Task, state: State) -> Dressing:
        """Return the dressing stored in `state`; earlier versions had none that depends on the mean.

        Raises:
            ModelError: an array is missing or does not fit the task.
        """
        outputs, levels = (task.leads, len(task.targets)), len(task.quantile_levels)
        offsets = take(state, "offsets", (*outputs, len(task.locations), levels))
        if "sizes" not in state:
            return cls.of(offsets)
        sizes = take(state, "sizes")
        classes = sizes.shape[-1] if sizes.ndim else 0
        return cls(
            offsets, take(state, "sizes", (*outputs, classes)), take(state, "by_size", (*outputs, classes, levels))
        )


def ordered(quantiles: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return quantiles (..., level), each at least as large as the one before; the array is changed in place."""
    for level in range(1, quantiles.shape[-1]):  # much faster than `np.maximum.accumulate` along a short axis
        np.maximum(quantiles[..., level], quantiles[..., level - 1], out=quantiles[..., level])
    return quantiles


def _interpolate(
    values: NDArray[np.float32], nodes: NDArray[np.float32], heights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return heights (node, quantile) interpolated at values (...), constant beyond the first and the last node."""
    above = np.clip(np.searchsorted(nodes, values), 1, len(nodes) - 1)
    below = above - 1
    span = np.maximum(nodes[above] - nodes[below], np.float32(1e-12))
    share = np.clip((values - nodes[below]) / span, 0, 1)[..., None]
    out: NDArray[np.float32] = (1 - share) * heights[below] + share * heights[above]
    return out


def fit_dressing(levels: tuple[float, ...], errors: NDArray[np.float32]) -> Dressing:
    """Return the dressing of errors (n, lead, target, location), NaN where unknown.

    Quantiles of a location with few errors are shrunk towards those of all locations; without any errors they are
    those of a standard normal distribution.
    """
    n, leads, targets, locations = errors.shape
    own, count = error_quantiles(errors.reshape(n, -1), levels)
    pool, pool_count = error_quantiles(errors.transpose(0, 3, 1, 2).reshape(n * locations, -1), levels)
    gauss = np.array([NormalDist().inv_cdf(level) for level in levels])
    pool = np.where(pool_count[:, None] > 0, pool, gauss)
    shape = (leads, targets, locations, len(levels))
    pool = np.broadcast_to(pool.reshape(leads, targets, 1, -1), shape)
    weight = (count / (count + _POOLING)).reshape(leads, targets, locations, 1)
    mixed = weight * own.reshape(shape) + (1 - weight) * pool
    return Dressing.of(np.maximum.accumulate(mixed, axis=-1).astype(np.float32))


def error_quantiles(
    errors: NDArray[np.float32], levels: tuple[float, ...]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return quantiles (column, level) of each column at plotting positions k / (n + 1), and the count of values."""
    ranked = np.sort(errors, axis=0)  # NaN last
    count = np.isfinite(ranked).sum(0)
    last = np.maximum(count - 1, 0)[:, None]
    position = np.clip((count[:, None] + 1) * np.array(levels) - 1, 0, last)
    below = np.floor(position).astype(np.intp)
    above = np.minimum(below + 1, last)
    low = np.take_along_axis(ranked.T, below, axis=1).astype(np.float64)
    high = np.take_along_axis(ranked.T, above, axis=1).astype(np.float64)
    value = low + (position - below) * (high - low)
    return np.where(count[:, None] > 0, value, 0.0), count


def level_widths(levels: tuple[float, ...]) -> NDArray[np.float32]:
    """Return the weight of each level in the trapezoidal integral over (0, 1) of a loss that is 0 at both ends.

    Twice the pinball loss, integrated this way, approximates the CRPS (Gneiting and Raftery 2007).
    """
    edges = np.array([0.0, *levels, 1.0])
    widths: NDArray[np.float32] = ((edges[2:] - edges[:-2]) / 2).astype(np.float32)
    return widths


def pinball(error: NDArray[np.float32], levels: tuple[float, ...]) -> NDArray[np.float32]:
    """Return the pinball loss, integrated over levels, of errors (..., level), truth minus forecast."""
    widths = level_widths(levels)
    # max(level * error, (level - 1) * error) = level * error - min(error, 0), and the sums need no array of their own.
    loss: NDArray[np.float32] = error @ (np.asarray(levels, np.float32) * widths) - np.minimum(error, 0) @ widths
    return loss
