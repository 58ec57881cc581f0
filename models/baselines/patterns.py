"""Empirical orthogonal functions of a gappy field, and how their amplitudes drive each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.task import Task

Floats = NDArray[np.float32]
Known = NDArray[np.bool_]

# Frames that the patterns are found from; more change them little.
_MOST_FRAMES = 2000
# Rounds in which patterns fill gaps and are found again.
_ROUNDS = 4
# A mode that grows from step to step does not last.
_LARGEST_ROOT = 0.9999


@dataclass(frozen=True, slots=True)
class Patterns:
    """Orthonormal patterns of the weighted anomalies of all channels and locations.

    Attributes:
        maps: (mode, cell), cells being channels times locations.
        weight: (cell,), what an anomaly is multiplied with first.
        variance: (mode,), of the amplitudes, descending.
        noise: mean square, in a cell, of what the patterns leave over.
    """

    maps: Floats
    weight: Floats
    variance: Floats
    noise: float

    def __len__(self) -> int:
        return len(self.maps)

    def first(self, modes: int) -> Patterns:
        """The leading patterns; the others join the noise."""
        dropped = float(self.variance[modes:].sum()) / self.maps.shape[1]
        return Patterns(self.maps[:modes], self.weight, self.variance[:modes], self.noise + dropped)

    def field(self, amplitudes: Floats, cells: slice | NDArray[np.intp] = slice(None)) -> Floats:
        """Anomalies (..., cell) of amplitudes (..., mode)."""
        maps = np.divide(self.maps[:, cells], self.weight[cells], dtype=np.float32)
        return np.asarray(amplitudes @ maps, np.float32)

    def amplitudes(self, anomaly: Floats, known: Known, expected: Floats) -> Floats:
        """Amplitudes (n, mode) of frames (n, cell), by least squares on the known cells.

        What they do not determine stays as `expected`; where all is known, this is a projection.
        """
        out = np.asarray((anomaly * self.weight) @ self.maps.T, np.float32)
        gaps = np.flatnonzero(~known.all(1))
        if not len(gaps):
            return out
        patterns, member = np.unique(np.packbits(known[gaps], axis=1), axis=0, return_inverse=True)
        surplus = np.where(known[gaps], anomaly[gaps] * self.weight - expected[gaps] @ self.maps, np.float32(0))
        pull = surplus @ self.maps.T
        doubt = np.diag(max(self.noise, 1e-4) / np.maximum(self.variance, 1e-6))
        for number in range(len(patterns)):
            rows = np.flatnonzero(member.reshape(-1) == number)
            maps = self.maps[:, known[gaps[rows[0]]]]
            change = np.linalg.solve(maps @ maps.T + doubt, pull[rows].T)
            out[gaps[rows]] = expected[gaps[rows]] + change.T
        return out


def area_weight(task: Task) -> Floats:
    """Square root of the cosine of latitude, for each channel and location: (cell,)."""
    area = np.sqrt(np.cos(np.radians(task.latitude)).clip(0.05))
    return np.tile(area, len(task.channels)).astype(np.float32)


def find_patterns(task: Task, anomaly: Floats, known: Known, most: int) -> Patterns:
    """At most so many leading patterns of a record (frame, channel, location); gaps are filled by the patterns."""
    frames = len(anomaly)
    rows = np.unique(np.linspace(0, frames - 1, min(frames, _MOST_FRAMES)).astype(int))
    weight = area_weight(task)
    there = known[rows].reshape(len(rows), -1)
    data = anomaly[rows].reshape(len(rows), -1) * weight
    ever = there.any(0)
    gappy = not there[:, ever].all()
    for _ in range(_ROUNDS if gappy else 1):
        maps, variance = _leading(data, most)
        noise = max(float(np.square(data).mean()) - float(variance.sum()) / data.shape[1], 0.0)
        found = Patterns(maps, weight, variance, noise)
        if gappy:
            amplitudes = found.amplitudes(data / weight, there | ~ever, np.zeros((len(rows), len(maps)), np.float32))
            data = np.where(there | ~ever, data, amplitudes @ maps)
    return found


def _leading(data: Floats, most: int) -> tuple[Floats, Floats]:
    """Patterns (mode, cell) and the mean squares of their amplitudes, from the smaller of the two products."""
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
    """Matrices (lag, mode, mode) whose products with the last amplitudes, newest first, give the next ones.

    Args:
        amplitudes: (frame, mode).
        seen: (frame,), whether a frame had data; steps into and out of others do not teach.
        lags: how far back.
        ridge: how strongly each amplitude is drawn towards following itself alone, as a share of its variance.
    """
    frames, modes = amplitudes.shape
    size = np.sqrt(np.square(amplitudes).mean(0)).clip(1e-6)
    scaled = (amplitudes / size).astype(np.float64)
    if frames <= lags:
        return np.zeros((lags, modes, modes), np.float32)
    past = np.concatenate([scaled[lags - 1 - lag : frames - 1 - lag] for lag in range(lags)], axis=1)
    whole = np.logical_and.reduce([seen[lag : frames - lags + lag] for lag in range(lags + 1)])
    past, ahead = past[whole], scaled[lags:][whole]
    own = (past[:, :modes] * ahead).sum(0) / np.square(past[:, :modes]).sum(0).clip(1e-9)
    prior = np.concatenate([np.diag(own), np.zeros(((lags - 1) * modes, modes))])
    doubt = ridge * max(len(past), 1)
    steps = np.linalg.solve(past.T @ past + doubt * np.eye(len(prior)), past.T @ ahead + doubt * prior)
    steps = steps.T.reshape(modes, lags, modes).transpose(1, 0, 2)
    return _steady(steps * (size[:, None] / size)).astype(np.float32)


def _steady(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same matrices, with growing modes slowed until none grows."""
    lags, modes, _ = steps.shape
    companion = np.eye(lags * modes, k=-modes)
    companion[:modes] = steps.transpose(1, 0, 2).reshape(modes, -1)
    root = float(np.abs(np.linalg.eigvals(companion)).max())
    if root <= _LARGEST_ROOT:
        return steps
    return steps * (_LARGEST_ROOT / root) ** np.arange(1, lags + 1)[:, None, None]


def advance(steps: Floats, last: Floats) -> Floats:
    """The last amplitudes (lag, n, mode), newest first, one step on."""
    following = np.einsum("lij,lnj->ni", steps, last, optimize=True)
    return np.concatenate([following[None], last[:-1]])
