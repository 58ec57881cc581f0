"""Least squares on more rows than fit in memory, by accumulating the normal equations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class NormalEquations:
    """Regressions of several outputs on the same predictors, each on the rows where its own truth is known.

    Args:
        predictors: p, number of predictors.
        outputs: t, number of outputs.
        shared: whether every truth is known, so that all outputs share one Gram matrix.
    """

    def __init__(self, predictors: int, outputs: int, *, shared: bool) -> None:
        self._gram = np.zeros((1 if shared else outputs, predictors, predictors))
        self._cross = np.zeros((predictors, outputs))
        self._count = np.zeros(outputs)

    @property
    def cost(self) -> int:
        """Multiplications per row."""
        return self._gram.size

    def add(self, x: NDArray[np.float32], y: NDArray[np.float32], known: NDArray[np.bool_]) -> None:
        """Add rows of predictors (n, p) and truths (n, t), 0 where unknown."""
        if len(self._gram) == 1:
            self._gram[0] += x.T @ x
        else:
            for output, gram in enumerate(self._gram):
                part = x[known[:, output]]
                gram += part.T @ part
        self._cross += x.T @ y
        self._count += known.sum(0)

    def solve(self, columns: NDArray[np.intp], ridges: tuple[float, ...]) -> NDArray[np.float32]:
        """Return weights (ridge, p, t) on the predictors `columns`, 0 elsewhere; ridges are per row."""
        out = np.zeros((len(ridges), *self._cross.shape), np.float32)
        shared = len(self._gram) == 1
        for number, gram in enumerate(self._gram):
            outputs = np.arange(len(self._count)) if shared else np.array([number])
            count = max(self._count[outputs[0]], 1.0)
            part, cross = gram[np.ix_(columns, columns)] / count, self._cross[np.ix_(columns, outputs)] / count
            for position, ridge in enumerate(ridges):
                out[position][np.ix_(columns, outputs)] = np.linalg.solve(part + ridge * np.eye(len(part)), cross)
        return out
