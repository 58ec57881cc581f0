"""Joint second moments of a gappy record, from which any regression on what is known follows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

# Prior weight, in pairs, of the belief that two variables are unrelated and of unit variance.
_PRIOR = 20.0
# Part of the variance of a target that its predictors may explain where moments do not fit together.
_MOST_EXPLAINED = 0.9
# Where they do not, roots below this part of the worst one's size are noise.
_NOISE = 0.3
_LEAST_ROOT = 1e-3
# Part of the variance of a target that is left at least.
_LEAST_LEFT = 0.02


@dataclass(frozen=True, slots=True)
class Moments:
    """Means of products over all instants at which both factors were known.

    Attributes:
        predictors: (p, p), positive definite.
        cross: (p, t), predictors with targets.
        targets: (t,), mean squares of the targets.
        count: (t,), how many pairs stand behind a column of `cross`, in the mean.
        places: how many locations, the fastest axis of p and of t.
        sharing: how far regressions believe what one location says of another, from 0 to 1.
    """

    predictors: NDArray[np.float32]
    cross: NDArray[np.float32]
    targets: NDArray[np.float32]
    count: NDArray[np.float32]
    places: int
    sharing: float = 1.0

    def localised(self, sharing: float) -> Moments:
        """The same moments, but regressions see relations between two locations multiplied by `sharing`.

        At 1 nothing changes, at 0 each location stands alone; the Schur product keeps what they see
        positive definite.
        """
        return replace(self, sharing=sharing)

    def regress(
        self, known: NDArray[np.bool_], ridge: float, *, redundancy: float = 1.0
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Ridge weights (p, t) on the known predictors alone, 0 elsewhere, and the deviations (t,) left.

        For Gaussian variables this is the conditional mean given what is known, so a missing predictor
        costs what its information was worth. Weights explain the record that they were found in better
        than they will explain the future; what chance alone would explain is taken off, and the weights
        shrink to match (Copas 1983): to nothing, where what is known tells nothing. So it is no worse
        than the climate, whatever is missing.

        Args:
            known: (p,), which predictors there are.
            ridge: added to the diagonal.
            redundancy: how many pairs in a row tell as much as one that stands alone.
        """
        index = np.flatnonzero(known)
        solved, explained, square = self._solve(index, ridge, redundancy)
        # Locations are alike, and one alone tells little: they shrink together.
        trust = self._by_group(explained) / np.maximum(self._by_group(square), 1e-12)
        trust = np.clip(trust, 0.0, 1.0)
        weights = np.zeros(self.cross.shape, np.float32)
        weights[index] = trust * solved
        left = self.targets - 2 * trust * explained + np.square(trust) * square
        left = np.clip(left, _LEAST_LEFT * self.targets, self.targets)
        return weights, np.sqrt(left).astype(np.float32)

    def risk(self, ridge: float) -> float:
        """Expected squared error with everything known, less that of the climate, in units of the latter.

        It needs no held-out data (Mallows 1973).
        """
        _, explained, square = self._solve(np.arange(len(self.predictors)), ridge)
        return float(((square - 2 * explained) / self.targets).mean())

    def _solve(
        self, index: NDArray[np.intp], ridge: float, redundancy: float = 1.0
    ) -> tuple[Doubles, Doubles, Doubles]:
        """Weights (known, t), what they explain of the targets beyond chance, and the variance they give."""
        cross = self.cross[index].astype(np.float64)
        gram = self.predictors[np.ix_(index, index)].astype(np.float64)
        place = index % self.places
        inside = np.where(place[:, None] == place, 1.0, self.sharing)
        towards = np.where(place[:, None] == np.arange(self.places), 1.0, self.sharing)
        inverse = np.linalg.inv(gram * inside + ridge * np.eye(len(index)))
        kinds = cross.shape[1] // self.places
        shared = cross.reshape(len(index), kinds, self.places) * towards[:, None]
        solved = inverse @ shared.reshape(cross.shape)
        common, square = (solved * cross).sum(0), (solved * (gram @ solved)).sum(0)
        left = np.maximum(self.targets - 2 * common + square, _LEAST_LEFT * self.targets)
        # Degrees of freedom of a fit to the targets of each location.
        freedom = redundancy * (inverse * gram).sum(1) @ towards
        chance = left * np.tile(freedom, kinds) / np.maximum(self.count, 1.0)
        return solved, common - chance, square

    def _by_group(self, values: Doubles) -> Doubles:
        """Mean over the locations of each kind of target (t,), in units of the target's variance."""
        mean: Doubles = (values / self.targets).reshape(-1, self.places).mean(1)
        spread: Doubles = mean.repeat(self.places)
        return spread


class MomentSums:
    """Sums and counts of products, chunk by chunk."""

    def __init__(self, predictors: int, targets: int) -> None:
        self._xx = np.zeros((predictors, predictors))
        self._xy = np.zeros((predictors, targets))
        self._yy = np.zeros(targets)
        self._nxx = np.zeros_like(self._xx)
        self._nxy = np.zeros_like(self._xy)
        self._nyy = np.zeros_like(self._yy)

    def add(
        self,
        x: NDArray[np.float32],
        x_known: NDArray[np.bool_],
        y: NDArray[np.float32],
        y_known: NDArray[np.bool_],
    ) -> None:
        """Count in rows of predictors (n, p) and targets (n, t), 0 where unknown."""
        self._xx += x.T @ x
        self._xy += x.T @ y
        self._yy += np.square(y).sum(0)
        if x_known.all() and y_known.all():
            self._nxx += len(x)
            self._nxy += len(x)
            self._nyy += len(x)
            return
        known, wanted = x_known.astype(np.float32), y_known.astype(np.float32)
        self._nxx += known.T @ known
        self._nxy += known.T @ wanted
        self._nyy += wanted.sum(0)

    def moments(self, places: int) -> Moments:
        """The means; where pairs were few, drawn towards unrelated unit variance."""
        predictors = (self._xx + _PRIOR * np.eye(len(self._xx))) / (self._nxx + _PRIOR)
        cross = self._xy / (self._nxy + _PRIOR)
        targets = (self._yy + _PRIOR) / (self._nyy + _PRIOR)
        if self._nxx.min() < self._nxx.max() or self._nxy.min() < self._nxy.max():
            predictors, cross = _reconciled(predictors, cross, targets)
        return Moments(
            predictors.astype(np.float32),
            cross.astype(np.float32),
            targets.astype(np.float32),
            self._nxy.mean(0).astype(np.float32),
            places,
        )


def _reconciled(predictors: Doubles, cross: Doubles, targets: Doubles) -> tuple[Doubles, Doubles]:
    """Moments near these that variables can have together.

    Means over different pairs need not fit together. Then there are mixtures of predictors with no
    variance, or less than none, that still go with the targets, and a regression would put all its
    weight on them. How negative the least root is tells how far roots are off: mixtures with less
    variance than that say nothing, and no target is explained beyond what is plausible.
    """
    scale, spread = np.sqrt(np.diag(predictors)), np.sqrt(targets)
    roots, axes = np.linalg.eigh(predictors / np.outer(scale, scale))
    least = max(_LEAST_ROOT, -_NOISE * float(roots[0]))
    parts = axes.T @ (cross / np.outer(scale, spread))
    parts[roots < least] = 0.0
    roots = np.maximum(roots, least)
    explained = (np.square(parts) / roots[:, None]).sum(0)
    parts *= np.sqrt(np.minimum(1.0, _MOST_EXPLAINED / np.maximum(explained, 1e-12)))
    return (axes * roots) @ axes.T * np.outer(scale, scale), axes @ parts * np.outer(scale, spread)
