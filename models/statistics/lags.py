"""Autocorrelation of a record with gaps, and its latest known values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Prior weight, in frames, of the pool of all locations.
_POOLING = 30.0


def autocorrelation(anomaly: NDArray[np.float32], known: NDArray[np.bool_], most: int) -> NDArray[np.float32]:
    """Return the correlation at lags 0..most, (most + 1, channel, location), of a record (frame, channel, location).

    Only pairs with both values known count; correlations from few pairs are shrunk towards that of all locations.
    Entries lie within [-0.999, 0.999], except 1 at lag 0.
    """
    frames = len(anomaly)
    out = np.ones((most + 1, *anomaly.shape[1:]), np.float32)
    for lag in range(1, most + 1):
        early, late = slice(0, max(frames - lag, 0)), slice(lag, None)
        both = known[early] & known[late]
        product = np.where(both, anomaly[early] * anomaly[late], 0).sum(0, dtype=np.float64)
        first = np.where(both, np.square(anomaly[early]), 0).sum(0, dtype=np.float64)
        second = np.where(both, np.square(anomaly[late]), 0).sum(0, dtype=np.float64)
        norm, count = np.sqrt(first * second), both.sum(0)
        pooled = product.sum(-1, keepdims=True) / np.maximum(norm.sum(-1, keepdims=True), 1e-12)
        # Subtract the correlation expected by chance among few times (as in `Moments.regress`).
        instants = np.maximum(both.any(-1, keepdims=True).sum(0), 1)
        square = np.square(pooled)
        pooled = pooled * np.clip(1 - (1 / instants) / np.maximum(square, 1e-12), 0, 1)
        own = product / np.maximum(norm, 1e-12)
        weight = count / (count + _POOLING)
        out[lag] = np.clip(weight * own + (1 - weight) * pooled, -0.999, 0.999)
    return out


def latest(anomaly: NDArray[np.float32], known: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Return the last known value (n, channel, location) of each context, and its age in frames.

    The last frame has age 0. Where nothing is known the value is 0 and the age is the context length.
    """
    frames = known.shape[1]
    age = np.where(known.any(1), known[:, ::-1].argmax(1), frames)
    index = np.minimum(frames - 1 - age, frames - 1).clip(0)
    value = np.take_along_axis(anomaly, index[:, None], axis=1)[:, 0]
    return np.where(age < frames, value, np.float32(0.0)), age
