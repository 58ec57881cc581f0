"""Forecasts of one model for many issue times, set against what came true, on exactly the published leads."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.base import Model
from models.task import Inputs
from pipeline import scores
from pipeline.features.windows import IssueWindows

CHUNK = 256


@dataclass(frozen=True)
class Evaluation:
    """Scores of one model, kept per issue time so that models can be compared pair by pair.

    All arrays are (issue, lead, target, location), NaN where the truth is unknown; lead 0 is the first after the issue.
    """

    crps: NDArray[np.float64]
    error: NDArray[np.float64]
    """Median minus truth."""
    covered: NDArray[np.float64]

    def at_lead(self, lead: int) -> Evaluation:
        """Return the scores of one lead, counted from 0."""
        one = slice(lead, lead + 1)
        return Evaluation(self.crps[:, one], self.error[:, one], self.covered[:, one])

    @property
    def mean_crps(self) -> float:
        """Mean CRPS; NaN when nothing could be scored."""
        return _mean(self.crps)

    @property
    def crps_by_lead(self) -> tuple[float, ...]:
        """Mean CRPS of each lead."""
        return tuple(_mean(self.crps[:, lead]) for lead in range(self.crps.shape[1]))

    @property
    def crps_by_issue(self) -> NDArray[np.float64]:
        """Mean CRPS of each issue time: (issue,)."""
        known = np.isfinite(self.crps)
        total = np.where(known, self.crps, 0).sum(axis=(1, 2, 3))
        count = known.sum(axis=(1, 2, 3))
        mean: NDArray[np.float64] = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
        return mean

    @property
    def coverage(self) -> float:
        """Fraction of truths inside the widest interval."""
        return _mean(self.covered)

    def by_lead(self) -> dict[str, tuple[float, ...]]:
        """Return mean absolute error, root mean square error, bias and coverage of each lead."""
        leads = range(self.error.shape[1])
        return {
            "mae": tuple(_mean(np.abs(self.error[:, lead])) for lead in leads),
            "rmse": tuple(float(np.sqrt(_mean(self.error[:, lead] ** 2))) for lead in leads),
            "bias": tuple(_mean(self.error[:, lead]) for lead in leads),
            "coverage": tuple(_mean(self.covered[:, lead]) for lead in leads),
        }


def predict_published(model: Model, inputs: Inputs, gaps: NDArray[np.int64], horizon: int) -> NDArray[np.float32]:
    """Return the quantiles of the leads after each issue time: (n, lead, target, location, quantile).

    The frames between the newest one an issue time can know and the issue time itself are forecast and left out.
    """
    quantiles = model.predict(inputs)
    lead = gaps[:, None] + np.arange(horizon)
    published: NDArray[np.float32] = np.take_along_axis(quantiles, lead[:, :, None, None, None], axis=1)
    return published


def evaluate(model: Model, windows: IssueWindows, *, silent: NDArray[np.bool_] | None = None) -> Evaluation:
    """Score a model on issue times; `silent` (location,) hides those locations from the inputs, not from the truth.

    Raises:
        ModelError: the model cannot forecast these windows.
    """
    levels = windows.task.quantiles
    parts: list[tuple[NDArray[np.float64], ...]] = []
    for start in range(0, len(windows), CHUNK):
        index = np.arange(start, min(start + CHUNK, len(windows)))
        inputs = windows.inputs(index)
        if silent is not None:
            mask = inputs.mask & ~silent
            inputs = replace(inputs, mask=mask, values=np.where(mask, inputs.values, np.float32(0)))
        gaps = windows.gaps[index]
        quantiles = predict_published(model, inputs, gaps, windows.horizon)
        lead = gaps[:, None] + np.arange(windows.horizon)
        truth = np.take_along_axis(windows.truth(index), lead[:, :, None, None], axis=1)
        median = quantiles[..., levels.index(0.5)]
        parts.append(
            (
                scores.crps(quantiles, truth, levels),
                median.astype(np.float64) - truth,
                scores.covered(quantiles, truth),
            )
        )
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Evaluation(*joined)


def _mean(values: NDArray[np.float64]) -> float:
    known = np.isfinite(values)
    return float(values[known].mean()) if known.any() else float("nan")
