"""Univariate state-space models: estimated by statsmodels, filtered here over all issue times at once."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_discrete_lyapunov

from models.base import State, take
from models.baselines.base import Baseline, Floats, Known
from models.errors import ModelError, NotFittedError
from models.statistics.lags import autocorrelation
from models.task import Inputs, Task, Windows

Doubles = NDArray[np.float64]

# Each location and target is a model of its own; more would take hours.
MOST_SERIES = 200
# A location with fewer known frames has no model of its own.
_FEWEST = 50
# Contexts (window, target, location) filtered at once.
_CHUNK = 100_000


class System(NamedTuple):
    """`y = design s`, `s' = transition s + noise`, `s` at first of covariance `start`: one location's model."""

    design: Doubles
    transition: Doubles
    noise: Doubles
    start: Doubles


@dataclass(frozen=True, slots=True)
class Systems:
    """The state-space models of all locations, padded to one number of states.

    Attributes:
        design: (target, location, state).
        transition: (target, location, state, state).
        noise: same shape, covariance of what each step adds.
        start: same shape, covariance of the state before the first frame is seen; its mean is 0.
    """

    design: Doubles
    transition: Doubles
    noise: Doubles
    start: Doubles

    @classmethod
    def of(cls, systems: list[list[System]], states: int) -> Systems:
        """The systems of each target and location, in this order."""
        return cls(*(np.array([[_padded(one[i], states) for one in row] for row in systems]) for i in range(4)))

    @classmethod
    def from_state(cls, task: Task, state: State, states: int) -> Systems:
        """The systems that `state` describes.

        Raises:
            ModelError: an array is missing or does not fit the task.
        """
        series = (len(task.targets), len(task.locations))
        square = (*series, states, states)
        shapes = {"design": (*series, states), "transition": square, "noise": square, "start": square}
        return cls(**{name: take(state, name, shape) for name, shape in shapes.items()})

    def state(self) -> dict[str, NDArray[Any]]:
        """Arrays from which `from_state` builds equal systems."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def forecast(self, values: Floats, known: Known, leads: int) -> tuple[Floats, Floats]:
        """Mean and variance, each (n, lead, target, location), given values (n, frame, target, location).

        The Kalman filter (Durbin and Koopman 2012, section 4.3), so what is not known is left out exactly.
        """
        mean = np.zeros((*values[:, 0].shape, self.design.shape[-1]))
        cover = np.broadcast_to(self.start, (*mean.shape, mean.shape[-1]))
        for frame in range(values.shape[1]):
            shared = (cover @ self.design[..., None])[..., 0]
            gain = shared / (shared * self.design).sum(-1)[..., None] * known[:, frame, ..., None]
            error = values[:, frame] - (mean * self.design).sum(-1)
            mean, cover = self._step(mean + gain * error[..., None], cover - gain[..., None] * shared[..., None, :])
        expected = np.empty((len(values), leads, *values.shape[2:]), np.float32)
        variance = np.empty_like(expected)
        for lead in range(leads):
            expected[:, lead] = (mean * self.design).sum(-1)
            variance[:, lead] = ((cover @ self.design[..., None])[..., 0] * self.design).sum(-1)
            mean, cover = self._step(mean, cover)
        return expected, variance

    def _step(self, mean: Doubles, cover: Doubles) -> tuple[Doubles, Doubles]:
        turned = self.transition @ cover @ np.swapaxes(self.transition, -1, -2) + self.noise
        return (self.transition @ mean[..., None])[..., 0], turned


class StateSpaceBaseline(Baseline):
    """A baseline that fits each location and target with the best of a few state-space models, by AIC.

    Subclasses say which in `_candidates`.

    Args:
        task: what to forecast.
        frames: the last frames of the record, from which the parameters are estimated.

    Raises:
        ModelError: `frames` is too small, or there are more than 200 locations times targets.
    """

    # Most states of any candidate.
    states: int

    def __init__(self, task: Task, *, frames: int = 4000) -> None:
        super().__init__(task)
        refuse_many(self.name, task)
        if frames < _FEWEST:
            raise ModelError(f"{self.name}: frames must be at least {_FEWEST}, found {frames}")
        self._frames = frames
        self._systems: Systems | None = None

    def options(self) -> dict[str, Any]:
        """The constructor options, ready for JSON."""
        return {"frames": self._frames}

    @abstractmethod
    def _candidates(self, series: Doubles) -> Iterable[tuple[float, System]]:
        """AIC and system of each model tried on a series (frame,) of anomalies, NaN where missing."""

    def _learn(self, anomaly: Floats, known: Known, validation: Windows) -> None:
        targets = list(self.task.target_channels)
        anomaly, known = anomaly[-self._frames :, targets], known[-self._frames :, targets]
        series = np.where(known, anomaly, np.nan).astype(np.float64)
        usual = autocorrelation(anomaly, known, 1)[1]
        numbers = [range(count) for count in series.shape[1:]]
        found = [[self._best(series[:, i, j], float(usual[i, j])) for j in numbers[1]] for i in numbers[0]]
        self._systems = Systems.of(found, self.states)

    def _best(self, series: Doubles, usual: float) -> System:
        """The candidate of least AIC; where there is none, an AR(1) of the correlation `usual`."""
        best, least = integrated(np.array([[usual]]), np.array([[1 - usual**2]])), np.inf
        if np.isfinite(series).sum() < _FEWEST or np.nanstd(series) < 1e-6:
            return best
        with warnings.catch_warnings():
            # An estimate that has not converged competes by its likelihood all the same.
            warnings.simplefilter("ignore")
            for aic, system in self._candidates(series):
                if aic < least and all(np.isfinite(part).all() for part in system):
                    best, least = system, aic
        return best

    def core(self, inputs: Inputs, anomaly: Floats, known: Known) -> tuple[Floats, Floats]:
        """Conditional mean and deviation given what is known of the context; the deviation is at most 1."""
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
        # Climatology knows as much, however far a level may have wandered.
        return mean, np.sqrt(np.clip(variance, 1e-4, 1.0))

    def _learnt(self) -> dict[str, NDArray[Any]]:
        return {} if self._systems is None else self._systems.state()

    def _restore(self, state: State) -> None:
        self._systems = Systems.from_state(self.task, state, self.states)


def integrated(transition: Doubles, noise: Doubles, design: Doubles | None = None, *, levels: int = 0) -> System:
    """A system whose first `levels` states wander freely, and whose others are stationary.

    An anomaly has unit variance, so that is what is believed of a level before a context is seen; of a
    stationary state its own variance is.
    """
    states = len(transition)
    start = np.zeros((states, states))
    start[:levels, :levels] = np.eye(levels)
    rest = slice(levels, None)
    start[rest, rest] = solve_discrete_lyapunov(transition[rest, rest], noise[rest, rest])
    return System(np.eye(1, states)[0] if design is None else design, transition, noise, start)


def refuse_many(name: str, task: Task) -> None:
    """Raise ModelError where a model a location and target would be too many."""
    series = len(task.locations) * len(task.targets)
    if series > MOST_SERIES:
        raise ModelError(
            f"{name}: fits each location and target by itself, {series} here, at most {MOST_SERIES}; use ridge-var"
        )


def _padded(array: Doubles, states: int) -> Doubles:
    return np.pad(array, [(0, states - size) for size in array.shape])
