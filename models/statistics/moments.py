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
# Most patterns of gaps, and bytes of what they need, that are worked on together.
_PATTERNS = 256
_BYTES = 2**26


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
        solved, common, square, freedom = self._solve(index, ridge)
        trust, left = self._shrunk(common, square, redundancy * freedom)
        weights = np.zeros(self.cross.shape, np.float32)
        weights[index] = trust * solved
        return weights, np.sqrt(left).astype(np.float32)

    def risk(self, ridge: float) -> float:
        """Expected squared error with everything known, less that of the climate, in units of the latter.

        It needs no held-out data (Mallows 1973).
        """
        _, common, square, freedom = self._solve(np.arange(len(self.predictors)), ridge)
        explained = self._beyond_chance(common, square, freedom)
        return float(((square - 2 * explained) / self.targets).mean())

    def _solve(self, index: NDArray[np.intp], ridge: float) -> tuple[Doubles, Doubles, Doubles, Doubles]:
        """Weights (known, t), what they explain (t,), the variance they give (t,) and their freedom (places,)."""
        gram, cross, inverse, shared, towards = self._factorised(index, ridge)
        solved = inverse @ shared
        common, square = (solved * cross).sum(0), (solved * (gram @ solved)).sum(0)
        return solved, common, square, (inverse * gram).sum(1) @ towards

    def _factorised(self, index: NDArray[np.intp], ridge: float) -> tuple[Doubles, Doubles, Doubles, Doubles, Doubles]:
        """For known predictors: moments, cross moments, inverse, cross moments as shared, (known, places) sharing."""
        cross = self.cross[index].astype(np.float64)
        gram = self.predictors[np.ix_(index, index)].astype(np.float64)
        place = index % self.places
        inside = np.where(place[:, None] == place, 1.0, self.sharing)
        towards: Doubles = np.where(place[:, None] == np.arange(self.places), 1.0, self.sharing)
        inverse: Doubles = np.linalg.inv(gram * inside + ridge * np.eye(len(index))).astype(np.float64, copy=False)
        kinds = cross.shape[1] // self.places
        shared = cross.reshape(len(index), kinds, self.places) * towards[:, None]
        return gram, cross, inverse, shared.reshape(cross.shape), towards

    def _beyond_chance(self, common: Doubles, square: Doubles, freedom: Doubles) -> Doubles:
        """What weights explain (..., t) less what chance alone would, given their degrees of freedom (..., places)."""
        left = np.maximum(self.targets - 2 * common + square, _LEAST_LEFT * self.targets)
        kinds = len(self.targets) // self.places
        chance: Doubles = left * np.tile(freedom, kinds) / np.maximum(self.count, 1.0)
        return common - chance

    def _shrunk(self, common: Doubles, square: Doubles, freedom: Doubles) -> tuple[Doubles, Doubles]:
        """The part of weights to trust, and the variance that is then left, each (..., t)."""
        explained = self._beyond_chance(common, square, freedom)
        # Locations are alike, and one alone tells little: they shrink together.
        trust = self._by_group(explained) / np.maximum(self._by_group(square), 1e-12)
        trust = np.clip(trust, 0.0, 1.0)
        left = self.targets - 2 * trust * explained + np.square(trust) * square
        return trust, np.clip(left, _LEAST_LEFT * self.targets, self.targets)

    def _by_group(self, values: Doubles) -> Doubles:
        """Mean over the locations of each kind of target (..., t), in units of the target's variance."""
        shape = (*values.shape[:-1], -1, self.places)
        mean: Doubles = (values / self.targets).reshape(shape).mean(-1)
        spread: Doubles = mean.repeat(self.places, axis=-1)
        return spread


class Regression:
    """What `Moments.regress` gives for any rows, whatever each misses, from one factorisation of the complete set.

    With A the inverse of the complete set's moments and W = A C its weights, a missing part M of a row x filled
    with -A_MM^-1 A_MK x_K makes x W the regression on the known part K alone, and W' A_MM^-1 W_M is what
    the loss of M costs (conditioning by Schur complements). A pattern of gaps costs as much as what it misses, or
    as what it knows where that is less.

    Args:
        moments: of predictors and targets.
        ridge: added to the diagonal.
    """

    def __init__(self, moments: Moments, ridge: float) -> None:
        self.moments = moments
        self.ridge = ridge
        gram, cross, inverse, shared, towards = moments._factorised(np.arange(len(moments.predictors)), ridge)
        solved = inverse @ shared
        given = gram @ solved
        self._common, self._square = (solved * cross).sum(0), (solved * given).sum(0)
        self._freedom, self._towards = (inverse * gram).sum(1), towards
        # Small systems are solved in double precision; what is wide and only added up need not be.
        self._inverse, self._rows = inverse, inverse.astype(np.float32)
        self._projection = (inverse @ gram).astype(np.float32)
        self._weights = solved.astype(np.float32)
        self._plain = self._weights if moments.sharing == 1.0 else (inverse @ cross).astype(np.float32)
        self._given = (inverse @ given).astype(np.float32)

    def __call__(
        self, x: NDArray[np.float32], known: NDArray[np.bool_], redundancy: Doubles
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Conditional means and deviations, each (n, t).

        Args:
            x: (n, p), 0 where unknown.
            known: (n, p).
            redundancy: (n,), as for `Moments.regress`; a function of what is known.
        """
        _, first, member = np.unique(np.packbits(known, axis=1), axis=0, return_index=True, return_inverse=True)
        order = np.argsort(member.reshape(-1), kind="stable")
        rows = np.split(order, np.cumsum(np.bincount(member.reshape(-1)))[:-1]) if len(x) else []
        missing = (~known[first]).sum(1)
        mean, deviation = (np.empty((len(x), len(self.moments.targets)), np.float32) for _ in range(2))
        some = np.flatnonzero(2 * missing <= known.shape[1])
        some = some[np.argsort(missing[some], kind="stable")]
        most = max(1, min(_PATTERNS, _BYTES // (64 * mean.shape[1])))
        for start in range(0, len(some), most):
            part = some[start : start + most]
            lines = [rows[number] for number in part]
            filled, trust, left = self._conditioned(x, known[first[part]], redundancy[first[part]], lines)
            index = np.concatenate(lines)
            repeats = np.repeat(np.arange(len(part)), [len(line) for line in lines])
            mean[index] = filled @ self._weights * trust[repeats]
            deviation[index] = left[repeats]
        for number in np.flatnonzero(2 * missing > known.shape[1]):
            at = first[number]
            weights, left = self.moments.regress(known[at], self.ridge, redundancy=float(redundancy[at]))
            mean[rows[number]] = x[rows[number]] @ weights
            deviation[rows[number]] = left
        return mean, deviation

    def _conditioned(
        self,
        x: NDArray[np.float32],
        known: NDArray[np.bool_],
        redundancy: Doubles,
        lines: list[NDArray[np.intp]],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Rows `lines` of x, by pattern, with gaps filled; per pattern the trust and the deviation left, (pattern, t).

        Patterns `known` follow the number of values they miss.
        """
        common, square = (np.tile(values, (len(known), 1)) for values in (self._common, self._square))
        freedom = np.tile(self._freedom, (len(known), 1))
        filled = [x[line] for line in lines]
        missing = (~known).sum(1)
        for size in np.unique(missing[missing > 0]):
            group = np.flatnonzero(missing == size)
            width = 4 * (3 * x.shape[1] + 5 * common.shape[1] + 6 * size)
            step = max(1, int(_BYTES // (size * width)))
            for start in range(0, len(group), step):
                part = group[start : start + step]
                gaps = np.nonzero(~known[part])[1].reshape(len(part), size)
                inverse = np.linalg.inv(self._inverse[gaps[:, :, None], gaps[:, None]])
                for number, gap, solver in zip(part, gaps, inverse, strict=True):
                    filled[number][:, gap] = -(filled[number] @ self._inverse[:, gap]) @ solver
                losses = self._losses(gaps, inverse.astype(np.float32))
                for total, loss in zip((common, square, freedom), losses, strict=True):
                    total[part] -= loss
        trust, left = self.moments._shrunk(common, square, redundancy[:, None] * (freedom @ self._towards))
        return np.concatenate(filled), trust.astype(np.float32), np.sqrt(left).astype(np.float32)

    def _losses(
        self, gaps: NDArray[np.intp], inverse: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """By how much gaps (n, m) reduce what weights explain (n, t), the variance they give, the freedom (n, p)."""
        rows, projection = self._rows[gaps], self._projection[gaps]
        solved = inverse @ self._weights[gaps]
        twice = projection @ rows.swapaxes(1, 2) @ solved
        common = (solved * self._plain[gaps]).sum(1)
        square = (solved * (2 * self._given[gaps] - twice)).sum(1)
        return common, square, (rows * (inverse @ projection)).sum(1)


def effort(known: NDArray[np.bool_], targets: int) -> float:
    """Operations, about, that a `Regression` on so many targets spends on the gaps of a row (n, p), in the mean."""
    patterns = np.unique(np.packbits(~known, axis=1), axis=0)
    missing = np.unpackbits(patterns, axis=1, count=known.shape[1]).sum(1, dtype=np.float64)
    small = np.minimum(missing, known.shape[1] - missing)
    return float(4 * np.square(small).sum() * (known.shape[1] + targets) / max(len(known), 1))


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
