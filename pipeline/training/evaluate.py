"""Scores of a model's forecasts for many issue times, on the published leads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from expectations.forecasts import check_forecast
from models.base import Model
from models.errors import ModelError
from models.statistics.conformal import Recalibration, target_limits
from models.task import Inputs, Task
from pipeline.features.windows import IssueWindows
from pipeline.training import metrics
from pipeline.training.coverage import IntervalCounts, add_counts

Scalar = TypeVar("Scalar", bound=np.generic)

CHUNK = 256
"""Largest number of issue times forecast at once."""
_VALUES = 1 << 22
"""Largest number of quantile values forecast at once; on a large grid, those of a few issue times."""
ALL, NONE = slice(None), slice(0, 0)
"""A whole axis, and nothing of it."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of one model, kept per issue time for paired comparisons of models.

    Arrays are (issue, lead, target, location), NaN where the truth is unknown. Lead 0 is the first after the issue.
    Means over several variables are means of scores divided by `scale`, with equal weights. A variable whose scale is 0
    is left out, such as snow in summer, which climatology forecasts without an error.
    """

    crps: NDArray[np.float64]
    error: NDArray[np.floating]
    """Median minus truth."""
    covered: NDArray[np.floating]
    scale: tuple[float, ...] | None = None
    """(target,) CRPS by which the scores are divided; None to leave them in their unit."""
    intervals: IntervalCounts | None = None
    """Observations inside every interval; None where they were not counted."""

    @property
    def arrays(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """CRPS, error and coverage."""
        return self.crps, self.error, self.covered

    def relative_to(self, reference: Evaluation | None) -> Evaluation:
        """Return the same scores with means relative to the mean CRPS of a reference, variable by variable.

        A single variable keeps its unit. The mean of several variables is NaN without a reference, and where the
        reference forecasts all of them without an error.
        """
        targets = self.crps.shape[2]
        if targets == 1:
            return self
        if reference is None:
            return replace(self, scale=(float("nan"),) * targets)
        scale = tuple(_mean(reference.crps[:, :, target]) for target in range(targets))
        return replace(self, scale=scale if any(scale) else (float("nan"),) * targets)

    def summary(self) -> Evaluation:
        """Return the means of each variable as the scores of a single forecast, with the same `mean_crps`.

        It takes little memory and is enough where scores are not compared in pairs.
        """
        targets = range(self.crps.shape[2])
        crps, error, covered = (
            np.array([_mean(scores[:, :, target]) for target in targets]).reshape(1, 1, -1, 1)
            for scores in (self.crps, self.error, self.covered)
        )
        return Evaluation(crps, error, covered, self.scale)

    def at_lead(self, lead: int) -> Evaluation:
        """Return the scores of one lead, counted from 0."""
        one = slice(lead, lead + 1)
        intervals = self.intervals and self.intervals.at(leads=one)
        return Evaluation(self.crps[:, one], self.error[:, one], self.covered[:, one], self.scale, intervals)

    def of_target(self, target: int) -> Evaluation:
        """Return the scores of one variable, counted from 0, in its unit."""
        one = slice(target, target + 1)
        intervals = self.intervals and self.intervals.at(targets=one)
        return Evaluation(self.crps[:, :, one], self.error[:, :, one], self.covered[:, :, one], intervals=intervals)

    @property
    def mean_crps(self) -> float:
        """Mean CRPS; NaN if a variable has no scores."""
        return _average([_mean(scores) / unit for scores, unit in self._by_target()])

    @property
    def crps_by_lead(self) -> tuple[float, ...]:
        """Mean CRPS of each lead."""
        leads = range(self.crps.shape[1])
        return tuple(_average([_mean(scores[:, lead]) / unit for scores, unit in self._by_target()]) for lead in leads)

    @property
    def crps_by_issue(self) -> NDArray[np.float64]:
        """Mean CRPS of each issue time over the variables with scores: (issue,)."""
        means = [_by_issue(scores) / unit for scores, unit in self._by_target()]
        known = np.isfinite(means)
        return _ratio(np.where(known, means, 0).sum(axis=0), known.sum(axis=0))

    @property
    def coverage(self) -> float:
        """Fraction of truths inside the widest interval."""
        return _mean(self.covered)

    def by_lead(self) -> dict[str, tuple[float, ...]]:
        """Return mean absolute error, root mean square error, bias and coverage of one variable for each lead."""
        leads = range(self.error.shape[1])
        return {
            "mae": tuple(_mean(np.abs(self.error[:, lead])) for lead in leads),
            "rmse": tuple(float(np.sqrt(_mean(self.error[:, lead].astype(np.float64) ** 2))) for lead in leads),
            "bias": tuple(_mean(self.error[:, lead]) for lead in leads),
            "coverage": self.coverage_by_lead,
        }

    @property
    def coverage_by_lead(self) -> tuple[float, ...]:
        """Fraction of truths inside the widest interval for each lead."""
        return tuple(_mean(self.covered[:, lead]) for lead in range(self.covered.shape[1]))

    def _by_target(self) -> list[tuple[NDArray[np.float64], float]]:
        """Return the scores (issue, lead, 1, location) of each variable with the CRPS to divide them by."""
        units = self.scale or (1.0,) * self.crps.shape[2]
        return [(self.crps[:, :, target : target + 1], unit) for target, unit in enumerate(units) if unit != 0]


def predict_published(model: Model, inputs: Inputs, gaps: NDArray[np.int64], horizon: int) -> NDArray[np.float32]:
    """Return the quantiles of the leads after each issue time: (n, lead, target, location, quantile).

    Models forecast from the newest known frame on. Frames up to the issue time are left out; `gaps` (n,) counts them.
    """
    return _after_issue(model.predict(inputs), gaps, horizon)


def predict_issue(model: Model, windows: IssueWindows, index: int = 0) -> NDArray[np.float32]:
    """Return the quantiles of one issue time: (lead, target, location, quantile), as the model forecasts by itself.

    Live forecasts and backtests are made one by one, since a batch may differ in the last bit.
    """
    one = np.array([index])
    (quantiles,) = predict_published(model, windows.inputs(one), windows.gaps[one], windows.horizon)
    return np.asarray(quantiles)


def check_task(model: Model, task: Task) -> None:
    """Raise ModelError unless a model was made for a task: arrays in another order may fit and would be misread."""
    if model.task != task:
        raise ModelError("it was trained for other stations, variables, quantiles or steps than the product has now")


def recalibrate_issue(
    quantiles: NDArray[np.float32], recalibration: Recalibration | None, windows: IssueWindows, index: int = 0
) -> NDArray[np.float32]:
    """Return the corrected quantiles (lead, target, location, quantile) of one issue time.

    A correction that was learnt for another horizon is not applied. Correct only what fulfils the contract of
    forecasts: a correction orders quantiles and keeps them within the limits, and would hide that a model is broken.
    """
    if recalibration is None or recalibration.horizon != windows.horizon:
        return quantiles
    (corrected,) = recalibration(quantiles[None], windows.lead_times(np.array([index])), target_limits(windows.task))
    return np.asarray(corrected)


def contract_problems(windows: IssueWindows, quantiles: NDArray[np.float32]) -> list[str]:
    """Return how the quantiles of one issue time break the contract of forecasts."""
    task = windows.task
    return check_forecast(
        quantiles,
        [task.limits[task.channels.index(name)] for name in task.targets],
        leads=windows.horizon,
        targets=task.targets,
        locations=task.locations,
        levels=task.quantile_levels,
    )


def published_truth(windows: IssueWindows, index: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return the observations at the published leads of issue times: (n, lead, target, location), NaN where unknown."""
    return _after_issue(windows.truth(index), windows.gaps[index], windows.horizon)


@dataclass(frozen=True, eq=False)
class Forecasts:
    """The forecasts of some issue times."""

    numbers: NDArray[np.intp]
    """(n,) positions among the issue times of the windows."""
    quantiles: NDArray[np.float32]
    """(n, lead, target, location, quantile)"""
    truth: NDArray[np.float32]
    """(n, lead, target, location), NaN where unknown."""
    valid_time: NDArray[np.datetime64]
    """(n, lead)"""

    def part(self, rows: slice) -> Forecasts:
        """Return some of them."""
        return Forecasts(self.numbers[rows], self.quantiles[rows], self.truth[rows], self.valid_time[rows])


def forecast_windows(
    model: Model, windows: IssueWindows, *, withheld: NDArray[np.bool_] | None = None
) -> Iterator[Forecasts]:
    """Yield the forecasts of all issue times, in order, a few at a time.

    Locations that are `withheld` (location,) are missing in the input, not in the truth.

    Raises:
        ModelError: the model cannot forecast these windows.
    """
    for index in chunks(windows):
        inputs = windows.inputs(index)
        if withheld is not None:
            inputs = withhold(inputs, locations=withheld)
        quantiles = predict_published(model, inputs, windows.gaps[index], windows.horizon)
        yield Forecasts(index, quantiles, published_truth(windows, index), windows.lead_times(index))


def forecast_checked(
    model: Model, windows: IssueWindows, *, withheld: NDArray[np.bool_] | None = None
) -> Iterator[Forecasts]:
    """Yield what `forecast_windows` does. A forecast that the live system would refuse is an error.

    Raises:
        ModelError: the model cannot forecast these windows, or breaks the contract of forecasts.
    """
    for forecasts in forecast_windows(model, windows, withheld=withheld):
        for quantiles in forecasts.quantiles:
            for problem in contract_problems(windows, quantiles):
                raise ModelError(problem)
        yield forecasts


def score(quantiles: NDArray[np.float32], truth: NDArray[np.float32], levels: tuple[float, ...]) -> Evaluation:
    """Return the scores of quantiles (issue, lead, target, location, quantile); the truth is NaN where unknown."""
    median = quantiles[..., levels.index(0.5)]
    return Evaluation(
        metrics.crps(quantiles, truth, levels),
        (median.astype(np.float64) - truth).astype(np.float32),
        metrics.covered(quantiles, truth).astype(np.float32),
        intervals=IntervalCounts.of(quantiles, truth, levels),
    )


def evaluate(model: Model, windows: IssueWindows) -> Evaluation:
    """Score a model on issue times, as it forecasts by itself.

    Raises:
        ModelError: the model cannot forecast these windows.
    """
    levels = windows.task.quantile_levels
    return concatenate([score(one.quantiles, one.truth, levels) for one in forecast_windows(model, windows)])


def chunks(windows: IssueWindows) -> Iterator[NDArray[np.intp]]:
    """Yield the indices of windows in chunks that can be forecast at once."""
    size = max(1, min(CHUNK, _VALUES // forecast_size(windows.task)))
    for start in range(0, len(windows), size):
        yield np.arange(start, min(start + size, len(windows)))


def forecast_size(task: Task) -> int:
    """Return the number of quantile values in the forecast of one issue time."""
    return task.leads * len(task.targets) * len(task.locations) * len(task.quantile_levels)


def withhold(
    inputs: Inputs,
    *,
    frames: slice = ALL,
    channels: slice = ALL,
    locations: NDArray[np.bool_] | None = None,
    covariates: slice = NONE,
) -> Inputs:
    """Return inputs without some observations and covariates, as if these had not arrived.

    Args:
        inputs: What was known at some issue times; it is not changed.
        frames: Context frames to withhold.
        channels: Variables to withhold.
        locations: (location,), True where to withhold these; None for everywhere.
        covariates: Covariates to withhold, at all leads and locations.
    """
    mask = inputs.mask.copy()
    mask[:, frames, channels, ALL if locations is None else locations] = False
    changed = replace(inputs, mask=mask, values=np.where(mask, inputs.values, np.float32(0)))
    if inputs.covariates is None or inputs.covariates_mask is None or covariates == NONE:
        return changed
    future = inputs.covariates_mask.copy()
    future[:, :, covariates] = False
    return replace(changed, covariates_mask=future, covariates=np.where(future, inputs.covariates, np.float32(0)))


def concatenate(parts: Sequence[Evaluation]) -> Evaluation:
    """Return the scores of consecutive issue times as one; `scale` is dropped."""
    crps, error, covered = (np.concatenate(arrays) for arrays in zip(*(part.arrays for part in parts), strict=True))
    return Evaluation(crps, error, covered, intervals=add_counts([part.intervals for part in parts]))


def _after_issue(array: NDArray[Scalar], gaps: NDArray[np.int64], horizon: int) -> NDArray[Scalar]:
    """Return the leads after each issue time of an array (n, lead, ...)."""
    after: NDArray[Scalar] = array[np.arange(len(gaps))[:, None], gaps[:, None] + np.arange(horizon)]
    return after


def _average(means: list[float]) -> float:
    return sum(means) / len(means)


def _by_issue(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.isfinite(scores)
    total = np.where(known, scores, 0).sum(axis=(1, 2, 3))
    count = known.sum(axis=(1, 2, 3))
    return _ratio(total, count)


def _ratio(total: NDArray[np.float64], count: NDArray[np.intp]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return mean


def _mean(values: NDArray[np.floating]) -> float:
    known = np.isfinite(values)
    return float(values[known].mean(dtype=np.float64)) if known.any() else float("nan")
