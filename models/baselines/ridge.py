"""Vector autoregression over all locations at once, by ridge regression."""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.base import State, take
from models.baselines.base import Baseline, Floats, Known
from models.errors import ModelError
from models.statistics.lags import autocorrelation
from models.statistics.moments import Moments, MomentSums, Regression, effort
from models.statistics.series import batches
from models.task import Batch, Inputs, Task, Windows

_DAY = 86_400
_CHUNK = 2048
_MOST_PREDICTORS = 1500
_SHARING = (1.0, 0.97, 0.9, 0.7, 0.4, 0.2, 0.0)
_RIDGES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
_USUAL_RIDGE = 0.1
# Bytes of predictors and targets that are added up together.
_BYTES = 2**26
# Windows that judge a ridge, values in them, and operations for each ridge; more change the choice no longer.
_JUDGES = 1024
_JUDGED = 2_000_000
_JUDGEMENT = 2e11
_LEAST_JUDGES = 64
# Operations for the errors that dressing looks at, and the least windows whatever they cost.
_DRESSING = 1.5e12
_LEAST_ERRORS = 256
# Windows that tell what gaps are like.
_SAMPLE = 256

Judge = tuple[Floats, Known, Floats, Known]
"""Predictors and targets of some windows, each with what is known of them."""


class RidgeVar(Baseline):
    """Each lead and location regressed directly on the last frames of every location and channel.

    Whatever is missing, the weights are those of the regression on what is known: see `Moments.regress`.
    The validation windows, or without them the expected error, choose how far locations inform each other
    (between independent and fully joint, a shrinkage in the sense of Ledoit and Wolf 2004) and the
    strength of the ridge.

    Args:
        task: what to forecast.
        lags: last frames that are predictors; by default 3 for daily and slower data, a day's worth
            (at most 24) for faster data, fewer where locations are many.
        memory: whether the mean of all older context frames is a predictor too.

    Raises:
        ModelError: an option is out of range, or the network is too large for one regression.
    """

    name: ClassVar[str] = "ridge-var"
    most_errors: ClassVar[int] = 10_000_000

    def __init__(self, task: Task, *, lags: int | None = None, memory: bool = True) -> None:
        super().__init__(task)
        width = len(task.channels) * len(task.locations)
        wanted = default_lags(task) if lags is None else lags
        if not 1 <= wanted <= task.context:
            raise ModelError(f"ridge-var: lags must lie within 1..{task.context}, found {lags}")
        self._lags = wanted
        self._memory = memory and task.context > wanted
        self._size = width * (wanted + self._memory)
        if self._size > 4 * _MOST_PREDICTORS:
            raise ModelError(f"ridge-var: {self._size} predictors; use fewer lags, or damped-anomaly")
        self._given = {"lags": lags, "memory": memory}
        self._regression: Regression | None = None
        self._redundancy = 1.0
        # Operations that the gaps of a window cost, in the mean.
        self._effort = 0.0

    def options(self) -> dict[str, Any]:
        """The constructor options, ready for JSON."""
        return dict(self._given)

    def _learn(self, anomaly: Floats, known: Known, validation: Windows) -> None:
        task = self.task
        targets = list(task.target_channels)
        outputs = task.leads * len(targets) * len(task.locations)
        sums = MomentSums(self._size, outputs)
        reach = self._lags if not self._memory else task.context
        # Issue frames with a full past and a future; the record stands in for windows, so that delayed
        # values teach too.
        issues = np.arange(reach - 1, len(anomaly) - task.leads)
        chunk = max(1, min(_CHUNK, _BYTES // (4 * (reach * known[0].size + self._size + outputs))))
        for start in range(0, len(issues), chunk):
            issue = issues[start : start + chunk]
            past = issue[:, None] + np.arange(1 - reach, 1)
            ahead = issue[:, None] + np.arange(1, task.leads + 1)
            x, x_known = self._predictors(anomaly[past], known[past])
            y, y_known = anomaly[ahead][:, :, targets], known[ahead][:, :, targets]
            sums.add(x, x_known, y.reshape(len(issue), -1), y_known.reshape(len(issue), -1))
        moments = sums.moments(len(task.locations))
        self._redundancy = _redundancy(anomaly, known, task.context - self._lags)
        sample = issues[:: max(1, len(issues) // _SAMPLE)]
        past = sample[:, None] + np.arange(1 - reach, 1)
        self._effort = effort(self._predictors(anomaly[past], known[past])[1], outputs)
        affordable = max(_LEAST_JUDGES, int(min(_JUDGED / outputs, _JUDGEMENT / max(self._effort, 1.0))))
        judges = [self._judge(batch) for batch in batches(validation, most=min(_JUDGES, affordable))]

        @cache
        def error(sharing: float, ridge: float) -> float:
            local = moments.localised(sharing)
            return self._squared(Regression(local, ridge), judges) if judges else local.risk(ridge)

        sharing = min(_SHARING, key=lambda value: error(value, _USUAL_RIDGE))
        ridge = min(_RIDGES, key=lambda value: error(sharing, value))
        self._regression = Regression(moments.localised(sharing), ridge)

    def core(self, inputs: Inputs, anomaly: Floats, known: Known) -> tuple[Floats, Floats]:
        """Conditional mean and deviation given the known predictors."""
        if self._regression is None:
            raise ModelError("ridge-var: no moments")
        shape = (len(anomaly), self.task.leads, len(self.task.targets), len(self.task.locations))
        mean, deviation = self._apply(self._regression, *self._predictors(anomaly, known))
        return mean.reshape(shape), deviation.reshape(shape)

    def _apply(self, regression: Regression, x: Floats, known: Known) -> tuple[Floats, Floats]:
        # Errors of a forecast from old frames alone last as long as anomalies do, as the mean of those does.
        recent = known[:, : self._lags * len(self.task.channels) * len(self.task.locations)].any(1)
        return regression(x, known, np.where(recent, 1.0, self._redundancy))

    def _most_windows(self) -> int:
        """Fewer where each has gaps of its own among many locations: then each costs a regression."""
        return min(super()._most_windows(), max(_LEAST_ERRORS, int(_DRESSING / max(self._effort, 1.0))))

    def _judge(self, batch: Batch) -> Judge:
        truth, known = self.target_anomalies(batch)
        shape = (len(truth), -1)
        return *self._predictors(*self.anomalies(batch.inputs)), truth.reshape(shape), known.reshape(shape)

    def _squared(self, regression: Regression, judges: list[Judge]) -> float:
        """Squared error of a regression on these windows."""
        total = 0.0
        for x, x_known, truth, known in judges:
            mean, _ = self._apply(regression, x, x_known)
            total += float(np.square(truth - mean, where=known, out=np.zeros_like(mean)).sum())
        return total

    def _predictors(self, anomaly: Floats, known: Known) -> tuple[Floats, Known]:
        """Rows (n, p) of the last frames, newest first, then the mean of the older ones."""
        n, frames, channels, places = known.shape
        width = channels * places
        newest = slice(frames - 1, None if self._lags == frames else frames - 1 - self._lags, -1)
        shape = (n, self._lags * width)
        x, x_known = [anomaly[:, newest].reshape(shape)], [known[:, newest].reshape(shape)]
        if self._memory:
            older = slice(None, frames - self._lags)
            count = known[:, older].sum(1)
            mean = anomaly[:, older].sum(1) / np.maximum(count, 1).astype(np.float32)
            # A mean of few values has another variance than the weights were fitted to.
            enough = 2 * count >= frames - self._lags
            x.append(np.where(enough, mean, np.float32(0.0)).reshape(n, width))
            x_known.append(enough.reshape(n, width))
        return np.concatenate(x, axis=1), np.concatenate(x_known, axis=1)

    def _learnt(self) -> dict[str, NDArray[Any]]:
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

    def _restore(self, state: State) -> None:
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
    """Three frames, or a day's worth up to 24, as far as context and size allow."""
    wanted = 3 if task.step_seconds >= _DAY else min(24, max(3, _DAY // task.step_seconds))
    width = len(task.channels) * len(task.locations)
    return max(1, min(wanted, task.context, _MOST_PREDICTORS // width - 1))


def _redundancy(anomaly: Floats, known: Known, frames: int) -> float:
    """How many means of `frames` frames, one after the other, tell as much of a value as one (Bartlett 1935)."""
    typical = np.maximum(autocorrelation(anomaly, known, max(frames - 1, 0)).mean((1, 2)), 0.0)
    overlap = 1 - np.arange(len(typical)) / max(frames, 1)
    return float(2 * (overlap * typical).sum() - 1) if frames else 1.0
