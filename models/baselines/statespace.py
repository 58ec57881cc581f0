"""Univariate state-space models, estimated by statsmodels and filtered here for all issue times at once."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_discrete_lyapunov

from models.base import State, take
from models.baselines.base import Baseline, Floats, Known
from models.errors import ModelError, NotFittedError
from models.search_space import IntRange, SearchSpace
from models.statistics.lags import autocorrelation
from models.task import Inputs, Task, Windows

Doubles = NDArray[np.float64]

# Maximum number of series (location, target), since fitting more would take hours.
MAX_SERIES = 200
# Minimum number of known frames to fit a model of a series.
_MIN_FRAMES = 50
# Contexts (window, target, location) per chunk.
_CHUNK = 100_000


class System(NamedTuple):
    """Model of one series: `y = design s`, `s' = transition s + noise`, with initial covariance `start` of `s`."""

    design: Doubles
    transition: Doubles
    noise: Doubles
    start: Doubles


@dataclass(frozen=True, slots=True)
class Systems:
    """The state-space models of all series, padded to the same number of states.

    Attributes:
        design: (target, location, state).
        transition: (target, location, state, state).
        noise: same shape, covariance of the process noise.
        start: same shape, covariance of the initial state, whose mean is 0.
    """

    design: Doubles
    transition: Doubles
    noise: Doubles
    start: Doubles

    @classmethod
    def of(cls, systems: list[list[System]], states: int) -> Systems:
        """Return the systems of all targets and locations, nested in this order."""
        return cls(*(np.array([[_padded(one[i], states) for one in row] for row in systems]) for i in range(4)))

    @classmethod
    def from_state(cls, task: Task, state: State, states: int) -> Systems:
        """Return the systems stored in `state`.

        Raises:
            ModelError: an array is missing or does not fit the task.
        """
        series = (len(task.targets), len(task.locations))
        square = (*series, states, states)
        shapes = {"design": (*series, states), "transition": square, "noise": square, "start": square}
        return cls(**{name: take(state, name, shape) for name, shape in shapes.items()})

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays from which `from_state` builds equal systems."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def forecast(self, values: Floats, known: Known, leads: int) -> tuple[Floats, Floats]:
        """Return mean and variance, each (n, lead, target, location), given values (n, frame, target, location).

        This is the Kalman filter (Durbin and Koopman 2012, section 4.3), which handles missing values exactly.
        """
        mean = np.zeros((*values[:, 0].shape, self.design.shape[-1]))
        covariance = np.broadcast_to(self.start, (*mean.shape, mean.shape[-1]))
        for frame in range(values.shape[1]):
            cross = (covariance @ self.design[..., None])[..., 0]
            gain = cross / (cross * self.design).sum(-1)[..., None] * known[:, frame, ..., None]
            error = values[:, frame] - (mean * self.design).sum(-1)
            updated = covariance - gain[..., None] * cross[..., None, :]
            mean, covariance = self._step(mean + gain * error[..., None], updated)
        expected = np.empty((len(values), leads, *values.shape[2:]), np.float32)
        variance = np.empty_like(expected)
        for lead in range(leads):
            expected[:, lead] = (mean * self.design).sum(-1)
            variance[:, lead] = ((covariance @ self.design[..., None])[..., 0] * self.design).sum(-1)
            mean, covariance = self._step(mean, covariance)
        return expected, variance

    def _step(self, mean: Doubles, covariance: Doubles) -> tuple[Doubles, Doubles]:
        predicted = self.transition @ covariance @ np.swapaxes(self.transition, -1, -2) + self.noise
        return (self.transition @ mean[..., None])[..., 0], predicted


class StateSpaceBaseline(Baseline):
    """A baseline that fits the best of a few state-space models to each location and target, by AIC.

    Subclasses define the models in `_candidates`.

    Args:
        task: what to forecast.
        frames: number of latest frames of the record that the parameters are estimated from.

    Raises:
        ModelError: `frames` is too small, or there are more than 200 series (locations times targets).
    """

    # Maximum number of states of any candidate.
    states: int

    def __init__(self, task: Task, *, frames: int = 4000) -> None:
        super().__init__(task)
        check_series_count(self.name, task)
        if frames < _MIN_FRAMES:
            raise ModelError(f"{self.name}: frames must be at least {_MIN_FRAMES}, found {frames}")
        self._frames = frames
        self._systems: Systems | None = None

    @classmethod
    def search_space(cls, task: Task) -> SearchSpace:
        """Return the length of the record that the parameters are estimated from."""
        return {"frames": IntRange(200, 8000, log=True)}

    def options(self) -> dict[str, Any]:
        """Return the constructor options, ready for JSON."""
        return {"frames": self._frames}

    @abstractmethod
    def _candidates(self, series: Doubles) -> Iterable[tuple[float, System]]:
        """Yield AIC and system of each model fitted to a series (frame,) of anomalies, NaN where missing."""

    def _fit_anomalies(self, anomaly: Floats, known: Known, chooser: Windows | Self) -> None:
        targets = list(self.task.target_channels)
        anomaly, known = anomaly[-self._frames :, targets], known[-self._frames :, targets]
        series = np.where(known, anomaly, np.nan).astype(np.float64)
        correlation = autocorrelation(anomaly, known, 1)[1]
        _, rows, columns = series.shape
        systems = [[self._best(series[:, i, j], float(correlation[i, j])) for j in range(columns)] for i in range(rows)]
        self._systems = Systems.of(systems, self.states)

    def _best(self, series: Doubles, correlation: float) -> System:
        """Return the candidate of lowest AIC, or an AR(1) of this correlation if none can be fitted."""
        best, least = make_system(np.array([[correlation]]), np.array([[1 - correlation**2]])), np.inf
        if np.isfinite(series).sum() < _MIN_FRAMES or np.nanstd(series) < 1e-6:
            return best
        with warnings.catch_warnings():
            # An estimate that did not converge still competes by its likelihood.
            warnings.simplefilter("ignore")
            for aic, system in self._candidates(series):
                if aic < least and all(np.isfinite(part).all() for part in system):
                    best, least = system, aic
        return best

    def core(self, inputs: Inputs, anomaly: Floats, known: Known) -> tuple[Floats, Floats]:
        """Return conditional mean and standard deviation given the context; the deviation is at most 1."""
        if self._systems is None:
            raise NotFittedError(self.name)
        targets = list(self.task.target_channels)
        size = max(1, _CHUNK // (len(targets) * len(self.task.locations)))
        mean = np.empty((len(inputs), self.task.leads, len(targets), len(self.task.locations)), np.float32)
        variance = np.empty_like(mean)
        for start in range(0, len(mean), size):
            part = slice(start, start + size)
            values = anomaly[part][:, :, targets], known[part][:, :, targets]
            mean[part], variance[part] = self._systems.forecast(*values, self.task.leads)
        # The climatic standard deviation is an upper bound, even where a level is nonstationary.
        return mean, np.sqrt(np.clip(variance, 1e-4, 1.0))

    def _core_state(self) -> dict[str, NDArray[Any]]:
        return {} if self._systems is None else self._systems.state()

    def _load_core_state(self, state: State) -> None:
        self._systems = Systems.from_state(self.task, state, self.states)


def make_system(transition: Doubles, noise: Doubles, design: Doubles | None = None, *, levels: int = 0) -> System:
    """Return a system whose first `levels` states are integrated and whose others are stationary.

    The initial variance of a level is 1, the variance of an anomaly; that of the other states is stationary.
    """
    states = len(transition)
    start = np.zeros((states, states))
    start[:levels, :levels] = np.eye(levels)
    rest = slice(levels, None)
    start[rest, rest] = solve_discrete_lyapunov(transition[rest, rest], noise[rest, rest])
    return System(np.eye(1, states)[0] if design is None else design, transition, noise, start)


def check_series_count(name: str, task: Task) -> None:
    """Raise ModelError where there are too many series to fit one model to each."""
    series = len(task.locations) * len(task.targets)
    if series > MAX_SERIES:
        raise ModelError(
            f"{name}: fits every location and target separately, at most {MAX_SERIES}, found {series}; use ridge-var"
        )


def _padded(array: Doubles, states: int) -> Doubles:
    return np.pad(array, [(0, states - size) for size in array.shape])
