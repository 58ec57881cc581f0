"""Vector autoregression over all locations at once, by ridge regression."""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from models.base import State, take
from models.baselines.base import Baseline, Floats, Known
from models.errors import ModelError, NotFittedError
from models.search_space import Choice, IntRange, SearchSpace
from models.statistics.filling import FilledRecord, fill
from models.statistics.lags import autocorrelation
from models.statistics.moments import Doubles, Moments, MomentSums, Regression, effort
from models.statistics.series import batches
from models.task import Batch, Inputs, Task, Windows

_DAY = 86_400
_CHUNK = 2048
_MAX_PREDICTORS = 1500
# Maximum number of operations to solve for the weights once; a fit does so about 13 times.
_MAX_OPERATIONS = 1e11
_SHARING = (1.0, 0.97, 0.9, 0.7, 0.4, 0.2, 0.0)
_RIDGES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
_DEFAULT_RIDGE = 0.1
# Bytes of predictors and targets per chunk.
_BYTES = 2**26
# Maximum number of validation windows, of values in them, and of operations per ridge; more would hardly change it.
_MAX_VALIDATION = 1024
_MAX_VALIDATION_VALUES = 2_000_000
_MAX_VALIDATION_OPERATIONS = 2e11
_MIN_VALIDATION = 64
# Maximum number of operations for the errors of dressing, and minimum number of windows whatever they cost.
_MAX_DRESSING_OPERATIONS = 1.5e12
_MIN_DRESSING = 256
# Number of windows that the cost of gaps is estimated from.
_SAMPLE = 256

Example = tuple[Floats, Known, Floats, Known]
"""Predictors and targets of some windows, each with its mask."""


class RidgeVar(Baseline):
    """Regresses each lead and location directly on the latest frames of every location and channel.

    Whatever is missing, the weights are those of the regression on the known predictors; see `Moments.regress`.
    Validation, or without it the expected error, chooses the ridge and the weight of moments between different
    locations, from independent to joint (shrinkage as in Ledoit and Wolf 2004).

    Args:
        task: what to forecast.
        lags: number of latest frames that are predictors; by default 3 for daily and slower data, and one day (at most
            24) for faster data, fewer for many locations.
        memory: whether the mean of all older context frames is a predictor too.

    Raises:
        ModelError: an option is out of range, or there are too many predictors for one regression.
    """

    name: ClassVar[str] = "ridge-var"
    max_errors: ClassVar[int] = 10_000_000

    def __init__(self, task: Task, *, lags: int | None = None, memory: bool = True) -> None:
        super().__init__(task)
        width = len(task.channels) * len(task.locations)
        self._lags = default_lags(task) if lags is None else lags
        if not 1 <= self._lags <= task.context:
            raise ModelError(f"ridge-var: lags must lie within 1..{task.context}, found {lags}")
        self._memory = memory and task.context > self._lags
        self._size = width * (self._lags + self._memory)
        most = 4 * _MAX_PREDICTORS
        if self._size > most:
            raise ModelError(
                f"ridge-var: needs at most {most} predictors, found {self._size}; use fewer lags, or damped-anomaly"
            )
        outputs = task.leads * len(task.targets) * len(task.locations)
        if self._size**2 * (self._size + outputs) > _MAX_OPERATIONS:
            raise ModelError(
                f"ridge-var: {self._size} predictors of {outputs} values take too long; use fewer lags, or "
                f"{'pooled-convolution' if task.grid else 'damped-anomaly'}"
            )
        self._options = {"lags": lags, "memory": memory}
        self._regression: Regression | None = None
        self._redundancy = 1.0
        # Mean number of operations for the gaps of a window.
        self._effort = 0.0

    @classmethod
    def search_space(cls, task: Task) -> SearchSpace:
        """Return `lags`, as far as there are not too many predictors, and `memory`."""
        most = 4 * _MAX_PREDICTORS // (len(task.channels) * len(task.locations)) - 1
        if most < 1:
            return {}
        return {"lags": IntRange(1, min(24, task.context, most)), "memory": Choice((False, True))}

    def options(self) -> dict[str, Any]:
        """Return the constructor options, ready for JSON."""
        return dict(self._options)

    def remarks(self) -> tuple[str, ...]:
        """Return a remark if there are leads at which the regression explains no more than chance does."""
        if self._regression is None:
            return ()
        shrinkage = self._regression.shrinkage.reshape(self.task.leads, -1)
        blind = int((shrinkage.max(axis=1) <= 0).sum())
        if not blind:
            return ()
        where = "every lead" if blind == self.task.leads else f"{blind} of {self.task.leads} leads"
        return (f"at {where}, recent values explain no more than chance, so it forecasts climatology",)

    def _fit_anomalies(self, anomaly: Floats, known: Known, chooser: Windows | Self) -> None:
        task = self.task
        targets = list(task.target_channels)
        outputs = task.leads * len(targets) * len(task.locations)
        sums = MomentSums(self._size, outputs)
        filled = fill(task, anomaly, known, task.context + task.leads)
        reach = self._lags if not self._memory else task.context
        # Issue frames with a complete past and future; the record also contains values that arrived late.
        issues = np.arange(reach - 1, len(anomaly) - task.leads)
        chunk = max(1, min(_CHUNK, _BYTES // (4 * (reach * known[0].size + self._size + outputs))))
        for start in range(0, len(issues), chunk):
            issue = issues[start : start + chunk]
            past = issue[:, None] + np.arange(1 - reach, 1)
            future = issue[:, None] + np.arange(1, task.leads + 1)
            x, y, x_information, y_information = (
                part
                for record in (filled.values, filled.information)
                for part in (
                    self._predictors(record[past], np.ones_like(known[past]))[0],
                    record[future][:, :, targets].reshape(len(issue), -1),
                )
            )
            sums.add(x, y, x_information, y_information)
        moments = sums.moments(len(task.locations), None if known.all() else self._lost(filled))
        self._redundancy = _redundancy(anomaly, known, task.context - self._lags)
        sample = issues[:: max(1, len(issues) // _SAMPLE)]
        past = sample[:, None] + np.arange(1 - reach, 1)
        self._effort = effort(self._predictors(anomaly[past], known[past])[1], outputs)
        if isinstance(chooser, RidgeVar):
            judged = chooser._fitted_regression()
            self._regression = Regression(moments.localised(judged.moments.sharing), judged.ridge)
        else:
            self._regression = self._choose(moments, chooser)

    def _lost(self, filled: FilledRecord) -> tuple[Doubles, Doubles, Doubles]:
        """Return what gaps took from the moments of predictors (p, p), with targets (p, t) and of targets (t,)."""
        task = self.task
        past = [np.array([-lag]) for lag in range(self._lags)]
        if self._memory:
            past.append(-np.arange(self._lags, task.context))
        future = [np.array([lead]) for lead in range(1, task.leads + 1)]
        form = (len(task.channels), len(task.locations))
        wanted = np.arange(form[0] * form[1]).reshape(form)[list(task.target_channels)].ravel()
        return (
            np.block([[filled.lost(one, other) for other in past] for one in past]),
            np.block([[filled.lost(one, other)[:, wanted] for other in future] for one in past]),
            np.tile(np.diag(filled.uncertainty)[wanted], task.leads),
        )

    def _choose(self, moments: Moments, validation: Windows) -> Regression:
        """Return the regression with the least validation error, or without validation the least expected error."""
        outputs = len(moments.targets)
        affordable = min(_MAX_VALIDATION_VALUES / outputs, _MAX_VALIDATION_OPERATIONS / max(self._effort, 1.0))
        most = min(_MAX_VALIDATION, max(_MIN_VALIDATION, int(affordable)))
        examples = [self._example(batch) for batch in batches(validation, most=most)]

        @cache
        def error(sharing: float, ridge: float) -> float:
            local = moments.localised(sharing)
            return self._squared_error(Regression(local, ridge), examples) if examples else local.risk(ridge)

        sharing = min(_SHARING, key=lambda value: error(value, _DEFAULT_RIDGE))
        ridge = min(_RIDGES, key=lambda value: error(sharing, value))
        return Regression(moments.localised(sharing), ridge)

    def _fitted_regression(self) -> Regression:
        if self._regression is None:
            raise NotFittedError(self.name)
        return self._regression

    def core(self, inputs: Inputs, anomaly: Floats, known: Known) -> tuple[Floats, Floats]:
        """Return conditional mean and standard deviation given the known predictors."""
        shape = (len(anomaly), self.task.leads, len(self.task.targets), len(self.task.locations))
        mean, deviation = self._apply(self._fitted_regression(), *self._predictors(anomaly, known))
        return mean.reshape(shape), deviation.reshape(shape)

    def _apply(self, regression: Regression, x: Floats, known: Known) -> tuple[Floats, Floats]:
        # Forecasts from old frames alone have errors as persistent as anomalies are, like the mean of those frames.
        recent = known[:, : self._lags * len(self.task.channels) * len(self.task.locations)].any(1)
        return regression(x, known, np.where(recent, 1.0, self._redundancy))

    def _max_windows(self) -> int:
        """Return the number of windows for dressing, fewer where each has its own gaps and needs its own regression."""
        affordable = int(_MAX_DRESSING_OPERATIONS / max(self._effort, 1.0))
        return min(super()._max_windows(), max(_MIN_DRESSING, affordable))

    def _example(self, batch: Batch) -> Example:
        truth, known = self.target_anomalies(batch)
        shape = (len(truth), -1)
        return *self._predictors(*self.anomalies(batch.inputs)), truth.reshape(shape), known.reshape(shape)

    def _squared_error(self, regression: Regression, examples: list[Example]) -> float:
        """Return the squared error of a regression on these examples."""
        total = 0.0
        for x, x_known, truth, known in examples:
            mean, _ = self._apply(regression, x, x_known)
            total += float(np.square(truth - mean, where=known, out=np.zeros_like(mean)).sum())
        return total

    def _predictors(self, anomaly: Floats, known: Known) -> tuple[Floats, Known]:
        """Return rows (n, p) of the latest frames, newest first, then the mean of the older ones."""
        n, frames, channels, locations = known.shape
        width = channels * locations
        newest = slice(frames - 1, None if self._lags == frames else frames - 1 - self._lags, -1)
        shape = (n, self._lags * width)
        x, x_known = [anomaly[:, newest].reshape(shape)], [known[:, newest].reshape(shape)]
        if self._memory:
            older = slice(None, frames - self._lags)
            count = known[:, older].sum(1)
            mean = anomaly[:, older].sum(1) / np.maximum(count, 1).astype(np.float32)
            # A mean of few values has a larger variance than the weights were fitted for.
            enough = 2 * count >= frames - self._lags
            x.append(np.where(enough, mean, np.float32(0.0)).reshape(n, width))
            x_known.append(enough.reshape(n, width))
        return np.concatenate(x, axis=1), np.concatenate(x_known, axis=1)

    def _core_state(self) -> dict[str, NDArray[Any]]:
        if self._regression is None:
            return {}
        moments = self._regression.moments
        return {
            "predictors": moments.predictors,
            "cross": moments.cross,
            "targets": moments.targets,
            "count": moments.count,
            "settings": np.array([moments.sharing, self._regression.ridge, self._redundancy, self._effort]),
        }

    def _load_core_state(self, state: State) -> None:
        outputs = self.task.leads * len(self.task.targets) * len(self.task.locations)
        sharing, ridge, redundancy, cost = (float(value) for value in take(state, "settings", (4,)))
        moments = Moments(
            take(state, "predictors", (self._size, self._size)),
            take(state, "cross", (self._size, outputs)),
            take(state, "targets", (outputs,)),
            take(state, "count", (outputs,)),
            len(self.task.locations),
            sharing,
        )
        self._redundancy, self._effort = redundancy, cost
        self._regression = Regression(moments, ridge)


def default_lags(task: Task) -> int:
    """Return three frames, or one day up to 24 frames, as far as context and size allow."""
    lags = 3 if task.step_seconds >= _DAY else min(24, max(3, _DAY // task.step_seconds))
    width = len(task.channels) * len(task.locations)
    return max(1, min(lags, task.context, _MAX_PREDICTORS // width - 1))


def _redundancy(anomaly: Floats, known: Known, frames: int) -> float:
    """Return how many consecutive means of `frames` frames carry as much information as one (Bartlett 1935)."""
    typical = np.maximum(autocorrelation(anomaly, known, max(frames - 1, 0)).mean((1, 2)), 0.0)
    overlap = 1 - np.arange(len(typical)) / max(frames, 1)
    return float(2 * (overlap * typical).sum() - 1) if frames else 1.0
