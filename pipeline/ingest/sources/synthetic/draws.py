"""Random numbers as a function of their purpose: the same in whatever order, batch or process they are drawn.

The function is the finaliser of SplitMix64, variant 13 of Stafford's mixers (Steele, Lea and Flood 2014, "Fast
splittable pseudorandom number generators", OOPSLA), applied once per part of the address. It is integer arithmetic, so
the bits are equal on every machine.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Bits = NDArray[np.uint64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def key(*parts: str | int) -> Bits:
    """Return the address, shape (1,), that names a stream of draws."""
    text = "\x1f".join(map(str, parts)).encode()
    return np.frombuffer(hashlib.sha256(text).digest()[:8], "<u8").astype(np.uint64)


def keys(names: tuple[str, ...]) -> Bits:
    """Return an address for each name."""
    return np.concatenate([key(name) for name in names])


def address(stream: Bits, *parts: NDArray[np.int64] | Bits) -> Bits:
    """Return the address of each combination of a stream and integers; shapes broadcast."""
    bits = stream
    for part in parts:
        bits = mix(bits ^ mix(np.atleast_1d(part).astype(np.uint64) * _STEP))
    return bits


def uniform(stream: Bits, *parts: NDArray[np.int64] | Bits) -> NDArray[np.float64]:
    """Return draws from (0, 1), both ends excluded."""
    return np.asarray(((address(stream, *parts) >> np.uint64(11)) + 0.5) * 2.0**-53, np.float64)


def normal(stream: Bits, *parts: NDArray[np.int64] | Bits) -> NDArray[np.float64]:
    """Return draws from the standard normal distribution."""
    return np.asarray(ndtri(uniform(stream, *parts)), np.float64)


def mix(bits: Bits) -> Bits:
    """Return the next output of SplitMix64 from state `bits`, in which every bit of the state matters."""
    bits = bits + _STEP
    bits = (bits ^ (bits >> np.uint64(30))) * _FIRST
    bits = (bits ^ (bits >> np.uint64(27))) * _SECOND
    return np.asarray(bits ^ (bits >> np.uint64(31)), np.uint64)
