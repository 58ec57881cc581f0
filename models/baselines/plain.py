"""The three plain baselines: persistence, climatology and their optimum between, the damped anomaly."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.base import State, take
from models.baselines.base import Baseline, Floats, Known
from models.statistics.lags import autocorrelation, latest
from models.task import Inputs, Windows


class Climatology(Baseline):
    """What the calendar says: the state of the day changes nothing."""

    name: ClassVar[str] = "climatology"

    def _learn(self, anomaly: Floats, known: Known, validation: Windows) -> None:
        pass

    def core(self, inputs: Inputs, anomaly: Floats, known: Known) -> tuple[Floats, Floats]:
        """Zero anomaly, unit deviation."""
        shape = (len(inputs), self.task.leads, len(self.task.targets), len(self.task.locations))
        return np.zeros(shape, np.float32), np.ones(shape, np.float32)

    def _learnt(self) -> dict[str, NDArray[Any]]:
        return {}

    def _restore(self, state: State) -> None:
        pass


class _LastValue(Baseline):
    """A baseline that looks at the last known value of each location and at its age."""

    _correlation: Floats

    def _learn(self, anomaly: Floats, known: Known, validation: Windows) -> None:
        targets = list(self.task.target_channels)
        most = self.task.context + self.task.leads
        self._correlation = autocorrelation(anomaly[:, targets], known[:, targets], most)

    def _latest(self, values: Floats, known: Known) -> tuple[Floats, Known, Floats]:
        """Of each target's context (n, context, target, location): the last known value, whether there is
        one, each (n, 1, target, location), and its correlation with the anomaly at each lead."""
        value, age = latest(values, known)
        lag = age[:, None] + np.arange(1, self.task.leads + 1)[:, None, None]
        correlation = np.take_along_axis(self._correlation[None], lag, axis=1)
        return value[:, None], (age < self.task.context)[:, None], correlation

    def _learnt(self) -> dict[str, NDArray[Any]]:
        return {"correlation": self._correlation}

    def _restore(self, state: State) -> None:
        lags = self.task.context + self.task.leads + 1
        shape = (lags, len(self.task.targets), len(self.task.locations))
        self._correlation = take(state, "correlation", shape)


class Persistence(_LastValue):
    """The last known value stays; where there is none, climatology."""

    name: ClassVar[str] = "persistence"

    def core(self, inputs: Inputs, anomaly: Floats, known: Known) -> tuple[Floats, Floats]:
        """The last value as an anomaly of each target time, and how far anomalies drift until then."""
        targets = list(self.task.target_channels)
        mean, spread = self.expected(inputs.time)
        value, found, correlation = self._latest(mean + spread * anomaly[:, :, targets], known[:, :, targets])
        mean, spread = self.expected(inputs.target_time)
        drift = np.sqrt(2 * (1 - correlation))
        return np.where(found, (value - mean) / spread, 0), np.where(found, drift, np.float32(1.0))


class DampedAnomaly(_LastValue):
    """The last known anomaly fades as its correlation with the target time does."""

    name: ClassVar[str] = "damped-anomaly"

    def core(self, inputs: Inputs, anomaly: Floats, known: Known) -> tuple[Floats, Floats]:
        """Correlation times the last anomaly, and the deviation that this leaves unexplained."""
        targets = list(self.task.target_channels)
        value, found, correlation = self._latest(anomaly[:, :, targets], known[:, :, targets])
        left = np.sqrt(1 - np.square(correlation))
        return correlation * value, np.where(found, left, np.float32(1.0))
