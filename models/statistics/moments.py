"""Joint second moments of a record, and ridge regressions on whichever predictors are known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

# Prior weight, in rows, of uncorrelated variables of unit variance.
_PRIOR = 20.0
# Largest explained fraction of the variance of a target where moments are inconsistent.
_MAX_EXPLAINED = 0.9
# Where they are, eigenvalues below this fraction of the most negative one's size are noise.
_NOISE = 0.3
_MIN_EIGENVALUE = 1e-3
# Smallest unexplained fraction of the variance of a target.
_MIN_UNEXPLAINED = 0.02
# Maximum number of gap patterns, and of bytes they need, per chunk.
_PATTERNS = 256
_BYTES = 2**26


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean products of predictors and targets.

    Attributes:
        predictors: (p, p), positive definite.
        cross: (p, t), predictors with targets.
        targets: (t,), mean squares of the targets.
        count: (t,), number of rows that each column of `cross` is worth, fewer with gaps.
        locations: number of locations, the fastest axis of p and of t.
        sharing: factor on the moments between different locations in regressions, from 0 to 1.
    """

    predictors: NDArray[np.float32]
    cross: NDArray[np.float32]
    targets: NDArray[np.float32]
    count: NDArray[np.float32]
    locations: int
    sharing: float = 1.0

    def localised(self, sharing: float) -> Moments:
        """Return the same moments, with those between different locations multiplied by `sharing` in regressions.

        At 1 nothing changes, at 0 locations are independent; as a Schur product the matrix stays positive definite.
        """
        return replace(self, sharing=sharing)

    def regress(
        self, known: NDArray[np.bool_], ridge: float, *, redundancy: float = 1.0
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return ridge weights (p, t) on the known predictors, 0 elsewhere, and residual standard deviations (t,).

        For Gaussian variables this is the conditional mean given the known predictors. Weights fit their own record
        better than future data, so the variance explained by chance is subtracted and the weights are shrunk
        accordingly (Copas 1983), to 0 where the known predictors have no skill. The result is no worse than the
        climate, whatever is missing.

        Args:
            known: (p,), True for known predictors.
            ridge: constant added to the diagonal.
            redundancy: number of consecutive pairs that carry as much information as one independent pair.
        """
        index = np.flatnonzero(known)
        solved, common, square, freedom = self._solve(index, ridge)
        shrinkage, residual = self._shrink(common, square, redundancy * freedom)
        weights = np.zeros(self.cross.shape, np.float32)
        weights[index] = shrinkage * solved
        return weights, np.sqrt(residual).astype(np.float32)

    def risk(self, ridge: float) -> float:
        """Return the expected squared error with everything known, relative to that of the climate and minus 1.

        It needs no held-out data (Mallows 1973).
        """
        _, common, square, freedom = self._solve(np.arange(len(self.predictors)), ridge)
        explained = self._beyond_chance(common, square, freedom)
        return float(np.average((square - 2 * explained) / self.targets, weights=np.maximum(self.count, 1e-6)))

    def _solve(self, index: NDArray[np.intp], ridge: float) -> tuple[Doubles, Doubles, Doubles, Doubles]:
        """Return weights (known, t), the covariance they explain (t,), their variance (t,), and degrees of freedom.

        Degrees of freedom are (locations,).
        """
        gram, cross, inverse, shared, sharing = self._factorised(index, ridge)
        solved = inverse @ shared
        common, square = (solved * cross).sum(0), (solved * (gram @ solved)).sum(0)
        return solved, common, square, (inverse * gram).sum(1) @ sharing

    def _factorised(self, index: NDArray[np.intp], ridge: float) -> tuple[Doubles, Doubles, Doubles, Doubles, Doubles]:
        """Return moments, cross moments, inverse, shared cross moments and sharing (known, locations) by predictor."""
        cross = self.cross[index].astype(np.float64)
        gram = self.predictors[np.ix_(index, index)].astype(np.float64)
        location = index % self.locations
        inside = np.where(location[:, None] == location, 1.0, self.sharing)
        sharing: Doubles = np.where(location[:, None] == np.arange(self.locations), 1.0, self.sharing)
        inverse: Doubles = np.linalg.inv(gram * inside + ridge * np.eye(len(index))).astype(np.float64, copy=False)
        kinds = cross.shape[1] // self.locations
        shared = cross.reshape(len(index), kinds, self.locations) * sharing[:, None]
        return gram, cross, inverse, shared.reshape(cross.shape), sharing

    def _beyond_chance(self, common: Doubles, square: Doubles, freedom: Doubles) -> Doubles:
        """Return the covariance explained (..., t) minus that expected by chance.

        Degrees of freedom are (..., locations).
        """
        residual = np.maximum(self.targets - 2 * common + square, _MIN_UNEXPLAINED * self.targets)
        kinds = len(self.targets) // self.locations
        chance: Doubles = residual * np.tile(freedom, kinds) / np.maximum(self.count, 1.0)
        return common - chance

    def _shrink(self, common: Doubles, square: Doubles, freedom: Doubles) -> tuple[Doubles, Doubles]:
        """Return the shrinkage factor of the weights and the residual variance, each (..., t)."""
        explained = self._beyond_chance(common, square, freedom)
        # One factor for all locations, since an estimate for a single location is too noisy.
        shrinkage = self._by_group(explained) / np.maximum(self._by_group(square), 1e-12)
        shrinkage = np.clip(shrinkage, 0.0, 1.0)
        residual = self.targets - 2 * shrinkage * explained + np.square(shrinkage) * square
        return shrinkage, np.clip(residual, _MIN_UNEXPLAINED * self.targets, self.targets)

    def _by_group(self, values: Doubles) -> Doubles:
        """Return the mean over the locations of each kind of target (..., t), relative to the target's variance.

        A location counts by its pairs: what chance would explain at a station that hardly ever reports is large, and
        must not take the skill from the others.
        """
        count = np.maximum(self.count, 1e-6).reshape(-1, self.locations)
        relative = (values / self.targets).reshape(*values.shape[:-1], *count.shape)
        mean: Doubles = (relative * (count / count.sum(-1, keepdims=True))).sum(-1)
        spread: Doubles = mean.repeat(self.locations, axis=-1)
        return spread


class Regression:
    """`Moments.regress` for many rows with different gaps, from one factorisation of the complete moments.

    Let A be the inverse of the complete moments and W = A C its weights. Filling the missing part M of a row x with
    -A_MM^-1 A_MK x_K makes x W the regression on the known part K, and W_M' A_MM^-1 W_M is the explained covariance
    lost with M (conditioning by Schur complements). The cost of a gap pattern grows with its missing or its known
    predictors, whichever are fewer.

    Args:
        moments: moments of predictors and targets.
        ridge: constant added to the diagonal.
    """

    def __init__(self, moments: Moments, ridge: float) -> None:
        self.moments = moments
        self.ridge = ridge
        gram, cross, inverse, shared, sharing = moments._factorised(np.arange(len(moments.predictors)), ridge)
        solved = inverse @ shared
        given = gram @ solved
        self._common, self._square = (solved * cross).sum(0), (solved * given).sum(0)
        self._freedom, self._sharing = (inverse * gram).sum(1), sharing
        # Small systems are solved in float64; wide matrices that are only summed are float32.
        self._inverse, self._rows = inverse, inverse.astype(np.float32)
        self._projection = (inverse @ gram).astype(np.float32)
        self._weights = solved.astype(np.float32)
        self._unshared = self._weights if moments.sharing == 1.0 else (inverse @ cross).astype(np.float32)
        self._given = (inverse @ given).astype(np.float32)

    @property
    def shrinkage(self) -> Doubles:
        """The factor of the weights (t,) where everything is known; 0 where they explain no more than chance does."""
        shrinkage, _ = self.moments._shrink(self._common, self._square, self._freedom @ self._sharing)
        return shrinkage

    def __call__(
        self, x: NDArray[np.float32], known: NDArray[np.bool_], redundancy: Doubles
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return conditional means and standard deviations, each (n, t).

        Args:
            x: (n, p), 0 where unknown.
            known: (n, p).
            redundancy: (n,), as for `Moments.regress`; equal for rows with the same gaps.
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
            filled, shrinkage, residual = self._condition(x, known[first[part]], redundancy[first[part]], lines)
            index = np.concatenate(lines)
            repeats = np.repeat(np.arange(len(part)), [len(line) for line in lines])
            mean[index] = filled @ self._weights * shrinkage[repeats]
            deviation[index] = residual[repeats]
        for number in np.flatnonzero(2 * missing > known.shape[1]):
            at = first[number]
            weights, residual = self.moments.regress(known[at], self.ridge, redundancy=float(redundancy[at]))
            mean[rows[number]] = x[rows[number]] @ weights
            deviation[rows[number]] = residual
        return mean, deviation

    def _condition(
        self,
        x: NDArray[np.float32],
        known: NDArray[np.bool_],
        redundancy: Doubles,
        lines: list[NDArray[np.intp]],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return the rows `lines` of x with gaps filled, and shrinkage and residual deviation (pattern, t).

        Gap patterns `known` are sorted by their number of missing values.
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
        shrinkage, residual = self.moments._shrink(common, square, redundancy[:, None] * (freedom @ self._sharing))
        return np.concatenate(filled), shrinkage.astype(np.float32), np.sqrt(residual).astype(np.float32)

    def _losses(
        self, gaps: NDArray[np.intp], inverse: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return the losses by gaps (n, m): explained covariance (n, t), its variance (n, t), freedom (n, p)."""
        rows, projection = self._rows[gaps], self._projection[gaps]
        solved = inverse @ self._weights[gaps]
        twice = projection @ rows.swapaxes(1, 2) @ solved
        common = (solved * self._unshared[gaps]).sum(1)
        square = (solved * (2 * self._given[gaps] - twice)).sum(1)
        return common, square, (rows * (inverse @ projection)).sum(1)


def effort(known: NDArray[np.bool_], targets: int) -> float:
    """Return the approximate mean number of operations that a `Regression` spends on the gaps of a row (n, p)."""
    patterns = np.unique(np.packbits(~known, axis=1), axis=0)
    missing = np.unpackbits(patterns, axis=1, count=known.shape[1]).sum(1, dtype=np.float64)
    small = np.minimum(missing, known.shape[1] - missing)
    return float(4 * np.square(small).sum() * (known.shape[1] + targets) / max(len(known), 1))


class MomentSums:
    """Accumulates sums of products, and the information they hold, over chunks of a record without gaps."""

    def __init__(self, predictors: int, targets: int) -> None:
        self._xx = np.zeros((predictors, predictors))
        self._xy = np.zeros((predictors, targets))
        self._yy = np.zeros(targets)
        self._count = np.zeros(targets)
        self._rows = 0

    def add(
        self,
        x: NDArray[np.float32],
        y: NDArray[np.float32],
        x_information: NDArray[np.float32],
        y_information: NDArray[np.float32],
    ) -> None:
        """Add rows of predictors (n, p) and targets (n, t).

        Information is 1 where a value was known, and less where it was filled: the fraction of variance explained.
        """
        self._xx += x.T @ x
        self._xy += x.T @ y
        self._yy += np.square(y).sum(0)
        self._count += x_information.mean(1) @ y_information
        self._rows += len(x)

    def moments(self, locations: int, lost: tuple[Doubles, Doubles, Doubles] | None = None) -> Moments:
        """Return the moments; those of few rows are shrunk towards uncorrelated variables of unit variance.

        `lost` are mean products that the rows lack because of gaps, (p, p), (p, t) and (t,).
        """
        rows = self._rows
        predictors = (self._xx + _PRIOR * np.eye(len(self._xx))) / (rows + _PRIOR)
        cross, targets = self._xy / (rows + _PRIOR), (self._yy + _PRIOR) / (rows + _PRIOR)
        if lost is not None:
            share = rows / (rows + _PRIOR)
            predictors, cross, targets = (
                array + share * more for array, more in zip((predictors, cross, targets), lost, strict=True)
            )
            predictors, cross = _make_consistent(predictors, cross, targets)
        return Moments(
            predictors.astype(np.float32),
            cross.astype(np.float32),
            targets.astype(np.float32),
            self._count.astype(np.float32),
            locations,
        )


def _make_consistent(predictors: Doubles, cross: Doubles, targets: Doubles) -> tuple[Doubles, Doubles]:
    """Return positive definite moments close to the given ones.

    What is added for gaps is an estimate: combinations of predictors can have zero or negative variance and still
    covary with the targets, and a regression would put all its weight on them. The most negative eigenvalue shows the
    size of the errors: combinations with less variance are ignored, and the explained variance is capped.
    """
    scale, spread = np.sqrt(np.diag(predictors)), np.sqrt(targets)
    roots, axes = np.linalg.eigh(predictors / np.outer(scale, scale))
    least = max(_MIN_EIGENVALUE, -_NOISE * float(roots[0]))
    parts = axes.T @ (cross / np.outer(scale, spread))
    parts[roots < least] = 0.0
    roots = np.maximum(roots, least)
    explained = (np.square(parts) / roots[:, None]).sum(0)
    parts *= np.sqrt(np.minimum(1.0, _MAX_EXPLAINED / np.maximum(explained, 1e-12)))
    return (axes * roots) @ axes.T * np.outer(scale, scale), axes @ parts * np.outer(scale, spread)
