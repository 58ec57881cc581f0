"""Linear inverse model: a vector autoregression of EOF amplitudes, plus the damped residual."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from models.base import State, take
from models.baselines.base import Baseline, Floats, Known
from models.baselines.eof import EofBasis, advance, area_weight, autoregression, find_eofs
from models.errors import ModelError
from models.search_space import IntRange, SearchSpace
from models.statistics.lags import autocorrelation, latest
from models.statistics.series import batches
from models.task import Inputs, Task, Windows

_MODES = (5, 10, 20, 40, 80)
_LAGS = (1, 2, 3)
_RIDGES = (0.003, 0.03, 0.3)
_DEFAULT_MODES = (10,)
_DEFAULT_RIDGE = 0.3
# Smallest known fraction of a frame that is used to estimate the dynamics.
_MIN_COVERAGE = 0.5
# Prior weight, in frames, of the mean error of all locations.
_POOLING = 30.0
# Number of validation windows; more would hardly change the choice.
_MAX_VALIDATION = 256


class LinearInverseModel(Baseline):
    """EOFs whose amplitudes follow a vector autoregression, iterated step by step.

    With one lag this is the linear inverse model of Penland and Sardeshmukh (1995). The residual of the EOFs at a
    location is damped by its own autocorrelation. Amplitudes are fitted to the known cells by least squares, with the
    forecast from earlier frames as prior, which bridges empty frames. Cells are weighted by the cosine of latitude.

    Args:
        task: what to forecast.
        modes: number of EOFs; by default validation chooses among 5 to 80.
        lags: order of the autoregression; by default validation chooses among 1 to 3.

    Raises:
        ModelError: an option is out of range.
    """

    name: ClassVar[str] = "linear-inverse"

    _basis: EofBasis
    _steps: Floats
    _ridge: float

    def __init__(self, task: Task, *, modes: int | None = None, lags: int | None = None) -> None:
        super().__init__(task)
        if modes is not None and modes < 1:
            raise ModelError(f"linear-inverse: modes must be at least 1, found {modes}")
        if lags is not None and not 1 <= lags <= task.context:
            raise ModelError(f"linear-inverse: lags must lie within 1..{task.context}, found {lags}")
        self._options = {"modes": modes, "lags": lags}
        cells = np.arange(len(task.channels) * len(task.locations)).reshape(len(task.channels), -1)
        self._targets = cells[list(task.target_channels)].reshape(-1)

    @classmethod
    def search_space(cls, task: Task) -> SearchSpace:
        """Return the number of EOFs and the order of the autoregression, which validation chooses by default."""
        cells = len(task.channels) * len(task.locations)
        return {"modes": IntRange(1, min(120, cells), log=True), "lags": IntRange(1, min(4, task.context))}

    def options(self) -> dict[str, Any]:
        """Return the constructor options, ready for JSON."""
        return dict(self._options)

    def _fit_anomalies(self, anomaly: Floats, known: Known, chooser: Windows | Self) -> None:
        modes = self._options["modes"]
        flat, present = anomaly.reshape(len(anomaly), -1), known.reshape(len(known), -1)
        self._observed: Known = np.asarray(present.any(0))
        seen = present[:, self._observed].mean(1) >= _MIN_COVERAGE
        self._persistence = np.clip(autocorrelation(anomaly, known, 1)[1].mean(), 0, 1).reshape(1)
        full = find_eofs(self.task, anomaly, known, max(_MODES) if modes is None else modes)
        # EOFs overfit the frames that they are computed from, so each half gets its residuals from EOFs of the other.
        half = len(anomaly) // 2
        halves = [
            find_eofs(self.task, anomaly[part], known[part], len(full)) for part in (slice(half, None), slice(half))
        ]
        candidates, orders, ridges = self._candidates(chooser)
        sizes = sorted({min(size, len(full)) for size in candidates})
        least, best = np.inf, None
        for size in sizes:
            self._basis = full.first(size)
            amplitudes = self._amplitudes(self._basis, flat, present)
            first = self._residual(halves[0].first(size), flat[:half], present[:half])
            residual = np.concatenate([first, self._residual(halves[1].first(size), flat[half:], present[half:])])
            self._residual_correlation = self._autocorrelation(residual, present)
            for order, ridge in product(orders, ridges):
                self._steps = autoregression(amplitudes, seen, order, ridge)
                loss = 0.0 if isinstance(chooser, LinearInverseModel) else self._squared_error(chooser)
                if best is None or loss < least:
                    least, best = loss, (self._basis, self._residual_correlation, self._steps, ridge, amplitudes)
        if best is not None:
            self._basis, self._residual_correlation, self._steps, self._ridge, amplitudes = best
            self._residual_deviation = self._forecast_deviation(flat, present, amplitudes)

    def _candidates(self, chooser: Windows | Self) -> tuple[Sequence[int], Sequence[int], Sequence[float]]:
        """Return numbers of EOFs, orders and ridges to choose from."""
        if isinstance(chooser, LinearInverseModel):
            return [len(chooser._basis)], [len(chooser._steps)], [chooser._ridge]
        modes, lags = self._options["modes"], self._options["lags"]
        orders = [lag for lag in _LAGS if lag <= self.task.context] if lags is None else [lags]
        if not len(chooser):
            return _DEFAULT_MODES if modes is None else [modes], orders[:1], [_DEFAULT_RIDGE]
        return _MODES if modes is None else [modes], orders, _RIDGES

    def _amplitudes(self, basis: EofBasis, flat: Floats, present: Known) -> Floats:
        """Return amplitudes (n, mode) of frames (n, cell), one frame at a time."""
        return basis.amplitudes(flat, present | ~self._observed, np.zeros((len(flat), len(basis)), np.float32))

    def _residual(self, basis: EofBasis, flat: Floats, present: Known) -> Floats:
        """Return the residual of frames (n, cell), 0 where missing."""
        field = basis.field(self._amplitudes(basis, flat, present))
        return np.where(present, flat - field, np.float32(0))

    def _autocorrelation(self, residual: Floats, present: Known) -> Floats:
        """Return the autocorrelation (lag, target cell) of residuals (frame, cell)."""
        shape = (len(residual), len(self.task.targets), -1)
        most = self.task.context + self.task.leads
        values, known = residual[:, self._targets].reshape(shape), present[:, self._targets].reshape(shape)
        return autocorrelation(values, known, most).reshape(most + 1, -1)

    def _forecast_deviation(self, flat: Floats, present: Known, amplitudes: Floats) -> Floats:
        """Return the standard deviation (lead, target cell) of forecast errors over the record."""
        lags, task = len(self._steps), self.task
        last = np.stack([amplitudes[lags - 1 - lag : len(flat) - lag] for lag in range(lags)])
        cells = self._targets
        residual = self._residual(self._basis, flat, present)[lags - 1 :, cells]
        out = np.ones((task.leads, len(cells)), np.float32)
        for lead in range(1, task.leads + 1):
            last = advance(self._steps, last)
            pairs = slice(lags - 1 + lead, None)
            count = len(flat[pairs])
            mean = self._basis.field(last[0], cells)[:count] + self._residual_correlation[lead] * residual[:count]
            both = present[pairs][:, cells]
            square = np.where(both, np.square(flat[pairs][:, cells] - mean), 0)
            weight, total = both.sum(0), square.sum(0, dtype=np.float64)
            pooled = (total.sum() + 1) / (weight.sum() + 1)
            deviation = np.sqrt((total + _POOLING * pooled) / (weight + _POOLING))
            out[lead - 1] = np.where(self._observed[cells], deviation.clip(1e-3, 1), 1)
        return out

    def core(self, inputs: Inputs, anomaly: Floats, known: Known) -> tuple[Floats, Floats]:
        """Return the mean, and a standard deviation that grows to 1 as less of the latest frames is known."""
        mean = self._mean(anomaly, known)
        coverage = known.reshape(*known.shape[:2], len(self._observed))[:, :, self._observed].mean(2)
        age = np.arange(known.shape[1])[::-1]
        share = (coverage * np.square(self._persistence) ** age).max(1)[:, None, None]
        deviation = np.sqrt(1 - share * (1 - np.square(self._residual_deviation)))
        shape = (len(anomaly), self.task.leads, len(self.task.targets), len(self.task.locations))
        return mean.reshape(shape), deviation.reshape(shape).astype(np.float32)

    def _mean(self, anomaly: Floats, known: Known) -> Floats:
        """Return the mean (n, lead, target cell) from contexts (n, frame, channel, location)."""
        n, frames = known.shape[:2]
        flat, present = anomaly.reshape(n, frames, len(self._observed)), known.reshape(n, frames, len(self._observed))
        if (present[:, -len(self._steps) :] | ~self._observed).all():
            # Older frames add nothing to complete ones.
            frames = len(self._steps)
            flat, present = flat[:, -frames:], present[:, -frames:]
        last = np.zeros((len(self._steps), n, len(self._basis)), np.float32)
        residual = np.zeros((n, frames, 1, len(self._targets)), np.float32)
        for frame in range(frames):
            last = advance(self._steps, last)
            last[0] = self._basis.amplitudes(flat[:, frame], present[:, frame] | ~self._observed, last[0])
            residual[:, frame, 0] = flat[:, frame, self._targets] - self._basis.field(last[0], self._targets)
        value, age = latest(residual, present[:, :, None, self._targets])
        value, age = value[:, 0], age[:, 0]
        out = np.empty((n, self.task.leads, len(self._targets)), np.float32)
        for lead in range(1, self.task.leads + 1):
            last = advance(self._steps, last)
            damping = np.take_along_axis(self._residual_correlation, age + lead, axis=0)
            out[:, lead - 1] = self._basis.field(last[0], self._targets) + damping * value
        return out

    def _squared_error(self, windows: Windows) -> float:
        total = 0.0
        for batch in batches(windows, most=_MAX_VALIDATION):
            truth, known = self.target_anomalies(batch)
            mean = self._mean(*self.anomalies(batch.inputs)).reshape(truth.shape)
            total += float(np.square(truth - mean, where=known, out=np.zeros_like(mean)).sum())
        return total

    def _core_state(self) -> dict[str, NDArray[Any]]:
        basis = self._basis
        return {
            "maps": basis.maps,
            "variance": basis.variance,
            "noise": np.array([basis.noise]),
            "steps": self._steps,
            "ridge": np.array([self._ridge]),
            "residual_correlation": self._residual_correlation,
            "residual_deviation": self._residual_deviation,
            "observed": self._observed,
            "persistence": self._persistence,
        }

    def _load_core_state(self, state: State) -> None:
        task = self.task
        cells, targets = len(task.channels) * len(task.locations), len(self._targets)
        variance = take(state, "variance")
        modes = variance.size
        steps = take(state, "steps")
        self._steps = take(state, "steps", (len(steps), modes, modes))
        # Earlier versions did not store it.
        self._ridge = float(take(state, "ridge", (1,))[0]) if "ridge" in state else _DEFAULT_RIDGE
        maps, noise = take(state, "maps", (modes, cells)), float(take(state, "noise", (1,))[0])
        self._basis = EofBasis(maps, area_weight(task), variance, noise)
        self._residual_correlation = take(state, "residual_correlation", (task.context + task.leads + 1, targets))
        self._residual_deviation = take(state, "residual_deviation", (task.leads, targets))
        self._observed, self._persistence = take(state, "observed", (cells,)), take(state, "persistence", (1,))
