"""Empirical orthogonal functions (EOFs) of a field with gaps, and a vector autoregression of their amplitudes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.task import Task

Floats = NDArray[np.float32]
Known = NDArray[np.bool_]

# Number of frames that the EOFs are computed from; more would hardly change them.
_MAX_FRAMES = 2000
# Number of iterations in which gaps are filled from the EOFs.
_ITERATIONS = 4
# Largest eigenvalue of the autoregression, so that no mode grows.
_MAX_EIGENVALUE = 0.9999


@dataclass(frozen=True, slots=True)
class EofBasis:
    """Orthonormal EOFs of the weighted anomalies of all channels and locations.

    Attributes:
        maps: (mode, cell), where the cells are channels times locations.
        weight: (cell,), weight of an anomaly before projection.
        variance: (mode,), variance of the amplitudes, descending.
        noise: mean squared residual per cell.
    """

    maps: Floats
    weight: Floats
    variance: Floats
    noise: float

    def __len__(self) -> int:
        return len(self.maps)

    def first(self, modes: int) -> EofBasis:
        """Return the leading EOFs; the variance of the others is added to the noise."""
        dropped = float(self.variance[modes:].sum()) / self.maps.shape[1]
        return EofBasis(self.maps[:modes], self.weight, self.variance[:modes], self.noise + dropped)

    def field(self, amplitudes: Floats, cells: slice | NDArray[np.intp] = slice(None)) -> Floats:
        """Return anomalies (..., cell) of amplitudes (..., mode)."""
        maps = np.divide(self.maps[:, cells], self.weight[cells], dtype=np.float32)
        return np.asarray(amplitudes @ maps, np.float32)

    def amplitudes(self, anomaly: Floats, known: Known, expected: Floats) -> Floats:
        """Return amplitudes (n, mode) of frames (n, cell), by least squares on the known cells.

        Amplitudes that the known cells do not determine stay at `expected`; for complete frames this is a projection.
        """
        out = np.asarray((anomaly * self.weight) @ self.maps.T, np.float32)
        gaps = np.flatnonzero(~known.all(1))
        if not len(gaps):
            return out
        patterns, member = np.unique(np.packbits(known[gaps], axis=1), axis=0, return_inverse=True)
        surplus = np.where(known[gaps], anomaly[gaps] * self.weight - expected[gaps] @ self.maps, np.float32(0))
        projected = surplus @ self.maps.T
        ridge = np.diag(max(self.noise, 1e-4) / np.maximum(self.variance, 1e-6))
        for number in range(len(patterns)):
            rows = np.flatnonzero(member.reshape(-1) == number)
            maps = self.maps[:, known[gaps[rows[0]]]]
            change = np.linalg.solve(maps @ maps.T + ridge, projected[rows].T)
            out[gaps[rows]] = expected[gaps[rows]] + change.T
        return out


def area_weight(task: Task) -> Floats:
    """Return the square root of the cosine of latitude for each channel and location, (cell,)."""
    area = np.sqrt(np.cos(np.radians(task.latitude)).clip(0.05))
    return np.tile(area, len(task.channels)).astype(np.float32)


def find_eofs(task: Task, anomaly: Floats, known: Known, most: int) -> EofBasis:
    """Return at most `most` leading EOFs of a record (frame, channel, location), filling gaps from the EOFs."""
    frames = len(anomaly)
    rows = np.unique(np.linspace(0, frames - 1, min(frames, _MAX_FRAMES)).astype(int))
    weight = area_weight(task)
    present = known[rows].reshape(len(rows), -1)
    data = anomaly[rows].reshape(len(rows), -1) * weight
    observed = present.any(0)
    usable = present | ~observed
    gappy = not present[:, observed].all()
    for _ in range(_ITERATIONS if gappy else 1):
        maps, variance = _leading_eofs(data, most)
        noise = max(float(np.square(data).mean()) - float(variance.sum()) / data.shape[1], 0.0)
        basis = EofBasis(maps, weight, variance, noise)
        if gappy:
            amplitudes = basis.amplitudes(data / weight, usable, np.zeros((len(rows), len(maps)), np.float32))
            data = np.where(usable, data, amplitudes @ maps)
    return basis


def _leading_eofs(data: Floats, most: int) -> tuple[Floats, Floats]:
    """Return EOFs (mode, cell) and the variances of their amplitudes, from the smaller covariance matrix."""
    frames, cells = data.shape
    if frames < cells:
        roots, axes = np.linalg.eigh((data @ data.T).astype(np.float64) / frames)
        maps = axes.T.astype(np.float32) @ data
    else:
        roots, axes = np.linalg.eigh((data.T @ data).astype(np.float64) / frames)
        maps = axes.T.astype(np.float32)
    kept = np.flatnonzero(roots > 1e-5 * max(roots[-1], 1e-12))[::-1][:most]
    kept = kept if len(kept) else np.array([len(roots) - 1])
    maps = maps[kept] / np.maximum(np.linalg.norm(maps[kept], axis=1, keepdims=True), np.float32(1e-12))
    return maps, np.maximum(roots[kept], 0).astype(np.float32)


def autoregression(amplitudes: Floats, seen: Known, lags: int, ridge: float) -> Floats:
    """Return the matrices (lag, mode, mode) of a vector autoregression, for the newest amplitudes first.

    Args:
        amplitudes: (frame, mode).
        seen: (frame,), whether a frame has enough data; pairs with other frames are left out.
        lags: order of the autoregression.
        ridge: shrinkage towards independent AR(1) processes, relative to the variance of each amplitude.
    """
    frames, modes = amplitudes.shape
    size = np.sqrt(np.square(amplitudes).mean(0)).clip(1e-6)
    scaled = (amplitudes / size).astype(np.float64)
    if frames <= lags:
        return np.zeros((lags, modes, modes), np.float32)
    past = np.concatenate([scaled[lags - 1 - lag : frames - 1 - lag] for lag in range(lags)], axis=1)
    whole = np.logical_and.reduce([seen[lag : frames - lags + lag] for lag in range(lags + 1)])
    past, future = past[whole], scaled[lags:][whole]
    own = (past[:, :modes] * future).sum(0) / np.square(past[:, :modes]).sum(0).clip(1e-9)
    prior = np.concatenate([np.diag(own), np.zeros(((lags - 1) * modes, modes))])
    penalty = ridge * max(len(past), 1)
    steps = np.linalg.solve(past.T @ past + penalty * np.eye(len(prior)), past.T @ future + penalty * prior)
    steps = steps.T.reshape(modes, lags, modes).transpose(1, 0, 2)
    return _stabilise(steps * (size[:, None] / size)).astype(np.float32)


def _stabilise(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the same matrices, damped until no mode grows."""
    lags, modes, _ = steps.shape
    companion = np.eye(lags * modes, k=-modes)
    companion[:modes] = steps.transpose(1, 0, 2).reshape(modes, -1)
    largest = float(np.abs(np.linalg.eigvals(companion)).max())
    if largest <= _MAX_EIGENVALUE:
        return steps
    return steps * (_MAX_EIGENVALUE / largest) ** np.arange(1, lags + 1)[:, None, None]


def advance(steps: Floats, last: Floats) -> Floats:
    """Return the latest amplitudes (lag, n, mode), newest first, one step later."""
    new = np.einsum("lij,lnj->ni", steps, last, optimize=True)
    return np.concatenate([new[None], last[:-1]])
