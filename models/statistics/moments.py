"""Joint second moments of a gappy record, from which any regression on what is known follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Prior weight, in pairs, of the belief that two variables are unrelated and of unit variance.
_PRIOR = 20.0


@dataclass(frozen=True, slots=True)
class Moments:
    """Means of products over all instants at which both factors were known.

    Attributes:
        predictors: (p, p), positive definite.
        cross: (p, t), predictors with targets.
        targets: (t,), mean squares of the targets.
        places: how many locations, the fastest axis of p and of t.
    """

    predictors: NDArray[np.float32]
    cross: NDArray[np.float32]
    targets: NDArray[np.float32]
    places: int

    def localised(self, sharing: float) -> Moments:
        """The same moments with every relation between two locations multiplied by `sharing`.

        The location must be the last, fastest axis of predictors and targets. At 1 nothing changes, at 0
        each location stands alone; the Schur product keeps the result positive definite.
        """
        same_x = self._same_place(len(self.predictors))
        same_y = self._same_place(self.cross.shape[1])
        factor = np.float32(sharing)
        return Moments(
            self.predictors * np.where(same_x, np.float32(1.0), factor),
            self.cross * np.where(same_y, np.float32(1.0), factor),
            self.targets,
            self.places,
        )

    def _same_place(self, columns: int) -> NDArray[np.bool_]:
        rows = np.arange(len(self.predictors)) % self.places
        same: NDArray[np.bool_] = rows[:, None] == np.arange(columns) % self.places
        return same

    def regress(self, known: NDArray[np.bool_], ridge: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Ridge weights (p, t) on the known predictors alone, 0 elsewhere, and the deviations (t,) left.

        For Gaussian variables this is the exact conditional mean given what is known, so a missing
        predictor costs what its information was worth, and nothing more.
        """
        weights = np.zeros(self.cross.shape, np.float32)
        index = np.flatnonzero(known)
        cross = self.cross[index].astype(np.float64)
        gram = self.predictors[np.ix_(index, index)].astype(np.float64)
        solved = np.linalg.solve(gram + ridge * np.eye(len(index)), cross)
        weights[index] = solved
        left = self.targets - (solved * (2 * cross - gram @ solved)).sum(0)
        return weights, np.sqrt(np.maximum(left, 0.02 * self.targets)).astype(np.float32)


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
        size = len(self._xx)
        predictors = (self._xx + _PRIOR * np.eye(size)) / (self._nxx + _PRIOR)
        # Means over different pairs need not form a covariance: mend what is not positive.
        if self._nxx.min() < self._nxx.max():
            roots, axes = np.linalg.eigh(predictors)
            predictors = (axes * np.maximum(roots, 1e-3)) @ axes.T
        return Moments(
            predictors.astype(np.float32),
            (self._xy / (self._nxy + _PRIOR)).astype(np.float32),
            ((self._yy + _PRIOR) / (self._nyy + _PRIOR)).astype(np.float32),
            places,
        )
