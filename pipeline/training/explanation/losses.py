"""Losses of accuracy by withholding groups of inputs (occlusion; Zeiler and Fergus 2014, arXiv:1311.2901)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from models.base import Model
from pipeline.features.windows import IssueWindows
from pipeline.training import metrics
from pipeline.training.evaluate import chunks, predict_published, published_truth
from pipeline.training.explanation.groups import InputGroup

Float = NDArray[np.float64]

FEWEST_BLOCKS = 5
"""Fewest blocks of issue times that give a standard error."""


@dataclass(frozen=True)
class Losses:
    """Sums of CRPS over locations, with all input and without each group, on the same issue times."""

    complete: Float
    """(issue, lead, target), 0 where no truth is known."""
    withheld: Float
    """(group, issue, lead, target)"""
    count: NDArray[np.intp]
    """(issue, lead, target), number of known truths."""
    block: int
    """Length of a block of issue times whose forecasts depend on each other."""

    def mean_crps(self) -> Float:
        """Return the mean CRPS of each target with all input, NaN where no truth is known: (target,)."""
        total, count = self.complete.sum(axis=(0, 1)), self.count.sum(axis=(0, 1))
        mean: Float = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
        return mean

    def relative(self, group: int, *, leads: slice = slice(None), targets: slice = slice(None)) -> tuple[float, float]:
        """Return the relative increase of the mean CRPS without a group, averaged over targets, and its standard error.

        The error is that of a ratio of sums over blocks of consecutive issue times. It is NaN with fewer than five
        blocks; both are NaN if no truth is known or the CRPS is 0.
        """
        complete = self.complete[:, leads, targets].sum(axis=1)
        without = self.withheld[group][:, leads, targets].sum(axis=1)
        total = complete.sum(axis=0)
        usable = total > 0
        if not usable.any():
            return float("nan"), float("nan")
        share = (complete[:, usable] / total[usable]).mean(axis=1)
        increase = (without[:, usable] / total[usable]).mean(axis=1) - share
        loss = float(increase.sum())
        return loss, self._error(increase - loss * share)

    def _error(self, residual: Float) -> float:
        number = len(residual) // self.block
        if number < FEWEST_BLOCKS:
            return float("nan")
        sums = np.array([part.sum() for part in np.array_split(residual, number)])
        return float(np.sqrt(number / (number - 1) * np.square(sums).sum()))


def measure_losses(model: Model, windows: IssueWindows, groups: Sequence[InputGroup], *, block: int) -> Losses:
    """Forecast every window with all input and without each group, and score the published leads.

    Args:
        model: The model.
        windows: Issue times that it was not fitted on, in order of time.
        groups: What to withhold, one group at a time.
        block: Length of a block of issue times whose forecasts depend on each other.

    Raises:
        ModelError: the model cannot forecast these windows.
    """
    levels, parts = windows.task.quantile_levels, []
    for index in chunks(windows):
        inputs, truth, gaps = windows.inputs(index), published_truth(windows, index), windows.gaps[index]
        sums = []
        for changed in chain([inputs], (group.withhold(inputs) for group in groups)):
            quantiles = predict_published(model, changed, gaps, windows.horizon)
            sums.append(np.nansum(metrics.crps(quantiles, truth, levels), axis=-1))
        parts.append((np.stack(sums), np.isfinite(truth).sum(axis=-1)))
    scores = np.concatenate([part for part, _ in parts], axis=1)
    return Losses(scores[0], scores[1:], np.concatenate([count for _, count in parts]), block)
