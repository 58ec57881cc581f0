"""Vector autoregression over all locations at once, by ridge regression."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.base import State, take
from models.baselines.base import Baseline, Floats, Known
from models.errors import ModelError
from models.statistics.lags import autocorrelation
from models.statistics.moments import Moments, MomentSums
from models.statistics.series import batches
from models.task import Inputs, Task, Windows

_DAY = 86_400
_CHUNK = 2048
_MOST_PREDICTORS = 1500
_SHARING = (1.0, 0.97, 0.9, 0.7, 0.4, 0.2, 0.0)
_RIDGES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
_USUAL_RIDGE = 0.1
_MOST_CACHED = 128
# Windows that judge a ridge; more change the choice no longer.
_JUDGES = 1024


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
        self._moments: Moments | None = None
        self._ridge = 0.0
        self._redundancy = 1.0
        self._cache: dict[bytes, tuple[Floats, Floats]] = {}

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
        for start in range(0, len(issues), _CHUNK):
            issue = issues[start : start + _CHUNK]
            past = issue[:, None] + np.arange(1 - reach, 1)
            ahead = issue[:, None] + np.arange(1, task.leads + 1)
            x, x_known = self._predictors(anomaly[past], known[past])
            y, y_known = anomaly[ahead][:, :, targets], known[ahead][:, :, targets]
            sums.add(x, x_known, y.reshape(len(issue), -1), y_known.reshape(len(issue), -1))
        moments = sums.moments(len(task.locations))
        self._redundancy = _redundancy(anomaly, known, task.context - self._lags)

        def error(sharing: float, ridge: float) -> float:
            local = moments.localised(sharing)
            return self._try(local, ridge, validation) if len(validation) else local.risk(ridge)

        sharing = min(_SHARING, key=lambda value: error(value, _USUAL_RIDGE))
        self._use(moments.localised(sharing), min(_RIDGES, key=lambda value: error(sharing, value)))

    def _use(self, moments: Moments, ridge: float) -> None:
        self._moments, self._ridge = moments, ridge
        self._cache.clear()

    def core(self, inputs: Inputs, anomaly: Floats, known: Known) -> tuple[Floats, Floats]:
        """Conditional mean and deviation given the known predictors."""
        x, x_known = self._predictors(anomaly, known)
        patterns, member = np.unique(np.packbits(x_known, axis=1), axis=0, return_inverse=True)
        member = member.reshape(-1)
        shape = (self.task.leads, len(self.task.targets), len(self.task.locations))
        mean = np.empty((len(x), int(np.prod(shape))), np.float32)
        deviation = np.empty_like(mean)
        for number, pattern in enumerate(patterns):
            rows = member == number
            weights, left = self._weights(pattern.tobytes(), x_known[rows.argmax()])
            mean[rows] = x[rows] @ weights
            deviation[rows] = left
        return mean.reshape(len(x), *shape), deviation.reshape(len(x), *shape)

    def _weights(self, key: bytes, known: Known) -> tuple[Floats, Floats]:
        if self._moments is None:
            raise ModelError("ridge-var: no moments")
        if key not in self._cache:
            if len(self._cache) >= _MOST_CACHED:
                del self._cache[next(iter(self._cache))]
            # Errors of a forecast from old frames alone last as long as anomalies do, as the mean of those does.
            recent = known[: self._lags * len(self.task.channels) * len(self.task.locations)].any()
            redundancy = 1.0 if recent else self._redundancy
            self._cache[key] = self._moments.regress(known, self._ridge, redundancy=redundancy)
        return self._cache[key]

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

    def _try(self, moments: Moments, ridge: float, validation: Windows) -> float:
        """Squared error on validation with these settings."""
        self._use(moments, ridge)
        total = 0.0
        for batch in batches(validation, most=_JUDGES):
            mean, _ = self.core(batch.inputs, *self.anomalies(batch.inputs))
            truth, known = self.target_anomalies(batch)
            total += float(np.square(truth - mean, where=known, out=np.zeros_like(mean)).sum())
        return total

    def _learnt(self) -> dict[str, NDArray[Any]]:
        if self._moments is None:
            return {}
        moments = self._moments
        return {
            "predictors": moments.predictors,
            "cross": moments.cross,
            "targets": moments.targets,
            "count": moments.count,
            "settings": np.array([moments.sharing, self._ridge, self._redundancy]),
        }

    def _restore(self, state: State) -> None:
        outputs = self.task.leads * len(self.task.targets) * len(self.task.locations)
        sharing, ridge, redundancy = (float(value) for value in take(state, "settings", (3,)))
        moments = Moments(
            take(state, "predictors", (self._size, self._size)),
            take(state, "cross", (self._size, outputs)),
            take(state, "targets", (outputs,)),
            take(state, "count", (outputs,)),
            len(self.task.locations),
            sharing,
        )
        self._redundancy = redundancy
        self._use(moments, ridge)


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
