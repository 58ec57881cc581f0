"""From a point and a deviation to quantiles, by the errors a model made before."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from models.base import State, take
from models.task import Task

# Errors of one location weigh as much as the pool of all locations from this many on.
_POOLING = 30.0


@dataclass(frozen=True, slots=True)
class Dressing:
    """Quantiles of past standardised errors, per lead, target and location.

    Attributes:
        offsets: (lead, target, location, quantile), non-decreasing along the last axis.
    """

    offsets: NDArray[np.float32]

    def __call__(self, mean: NDArray[np.float32], deviation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Quantiles (n, lead, target, location, quantile) around `mean`, both in anomaly space."""
        return mean[..., None] + deviation[..., None] * self.offsets

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Arrays from which `from_state` builds an equal dressing."""
        return {"offsets": self.offsets}

    @classmethod
    def from_state(cls, task: Task, state: State) -> Dressing:
        """The dressing that `state` describes.

        Raises:
            ModelError: the array is missing or does not fit the task.
        """
        shape = (task.leads, len(task.targets), len(task.locations), len(task.quantiles))
        return cls(take(state, "offsets", shape))


def fit_dressing(levels: tuple[float, ...], errors: NDArray[np.float32]) -> Dressing:
    """The dressing of errors (n, lead, target, location), NaN where unknown.

    Locations with few errors lean on the pool of all; with no errors at all, a Gaussian of unit spread
    stands in.
    """
    n, leads, targets, places = errors.shape
    own, count = _quantiles(errors.reshape(n, -1), levels)
    pool, pool_count = _quantiles(errors.transpose(0, 3, 1, 2).reshape(n * places, -1), levels)
    gauss = np.array([NormalDist().inv_cdf(level) for level in levels])
    pool = np.where(pool_count[:, None] > 0, pool, gauss)
    shape = (leads, targets, places, len(levels))
    pool = np.broadcast_to(pool.reshape(leads, targets, 1, -1), shape)
    weight = (count / (count + _POOLING)).reshape(leads, targets, places, 1)
    mixed = weight * own.reshape(shape) + (1 - weight) * pool
    return Dressing(np.maximum.accumulate(mixed, axis=-1).astype(np.float32))


def _quantiles(errors: NDArray[np.float32], levels: tuple[float, ...]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Per column: quantiles (column, level) at plotting position k / (n + 1), and the count behind them."""
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
    """Weight of each level in the trapezoidal integral from 0 to 1 of a loss that is 0 at both ends.

    Twice the pinball loss, integrated so, is the continuous ranked probability score (Gneiting and
    Raftery 2007).
    """
    edges = np.array([0.0, *levels, 1.0])
    widths: NDArray[np.float32] = ((edges[2:] - edges[:-2]) / 2).astype(np.float32)
    return widths


def pinball(
    quantiles: NDArray[np.float32],
    levels: tuple[float, ...],
    truth: NDArray[np.float32],
    known: NDArray[np.bool_],
) -> tuple[float, int]:
    """Sum over known truths of twice the pinball loss, integrated over levels, and their count."""
    error = truth[..., None] - quantiles
    level = np.asarray(levels, np.float32)
    loss = 2 * np.maximum(level * error, (level - 1) * error) @ level_widths(levels)
    return float(loss[known].sum(dtype=np.float64)), int(known.sum())
