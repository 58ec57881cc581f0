"""Variance-stabilising transforms, after which errors have a similar size at every level."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError

# Beyond this, expm1 overflows float32; physical quantities stay far below it.
_LARGEST_LOG = 60.0


def forward(kind: str, values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Transform values; those below the domain of the transform count as its lower bound, 0."""
    single: NDArray[np.float32] = values.astype(np.float32, copy=False)
    if kind == "sqrt":
        single = np.sqrt(np.maximum(single, np.float32(0.0)))
    elif kind == "log1p":
        single = np.log1p(np.maximum(single, np.float32(0.0)))
    elif kind != "identity":
        raise ModelError(f"unknown transform {kind!r}")
    return single


def inverse(kind: str, values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Transform back to physical units; monotone everywhere, so quantiles stay quantiles."""
    single: NDArray[np.float32] = values.astype(np.float32, copy=False)
    if kind == "sqrt":
        single = np.square(np.maximum(single, np.float32(0.0)))
    elif kind == "log1p":
        single = np.expm1(np.clip(single, np.float32(0.0), np.float32(_LARGEST_LOG)))
    elif kind != "identity":
        raise ModelError(f"unknown transform {kind!r}")
    return single
