"""The reference forecasts: persistence, climatology, and the damped anomaly between them."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from models.base import State, take
from models.baselines.base import Baseline, Floats, Known
from models.statistics.lags import autocorrelation, latest
from models.task import Inputs, Windows


class Climatology(Baseline):
    """The climate of the time of year, day and week, whatever the recent values are."""

    name: ClassVar[str] = "climatology"

    def _fit_anomalies(self, anomaly: Floats, known: Known, chooser: Windows | Self) -> None:
        pass

    def core(self, inputs: Inputs, anomaly: Floats, known: Known) -> tuple[Floats, Floats]:
        """Return zero anomalies of unit standard deviation."""
        shape = (len(inputs), self.task.leads, len(self.task.targets), len(self.task.locations))
        return np.zeros(shape, np.float32), np.ones(shape, np.float32)

    def _core_state(self) -> dict[str, NDArray[Any]]:
        return {}

    def _load_core_state(self, state: State) -> None:
        pass


class _LastValue(Baseline):
    """A baseline that uses the last known value of each location and its age."""

    _correlation: Floats

    def _fit_anomalies(self, anomaly: Floats, known: Known, chooser: Windows | Self) -> None:
        targets = list(self.task.target_channels)
        most = self.task.context + self.task.leads
        self._correlation = autocorrelation(anomaly[:, targets], known[:, targets], most)

    def _latest(self, values: Floats, known: Known) -> tuple[Floats, Known, Floats]:
        """Return the last known values of contexts (n, context, target, location), and their correlation by lead.

        These are the value and whether there is one, each (n, 1, target, location), and the correlation
        (n, lead, target, location) of its anomaly with that of the target time.
        """
        value, age = latest(values, known)
        lag = age[:, None] + np.arange(1, self.task.leads + 1)[:, None, None]
        correlation = np.take_along_axis(self._correlation[None], lag, axis=1)
        return value[:, None], (age < self.task.context)[:, None], correlation

    def _core_state(self) -> dict[str, NDArray[Any]]:
        return {"correlation": self._correlation}

    def _load_core_state(self, state: State) -> None:
        lags = self.task.context + self.task.leads + 1
        shape = (lags, len(self.task.targets), len(self.task.locations))
        self._correlation = take(state, "correlation", shape)


class Persistence(_LastValue):
    """The last known value; climatology where there is none."""

    name: ClassVar[str] = "persistence"

    def core(self, inputs: Inputs, anomaly: Floats, known: Known) -> tuple[Floats, Floats]:
        """Return the last value as an anomaly of each target time, and the standard deviation of its change."""
        targets = list(self.task.target_channels)
        mean, spread = self.expected(inputs.time)
        value, exists, correlation = self._latest(mean + spread * anomaly[:, :, targets], known[:, :, targets])
        mean, spread = self.expected(inputs.target_time)
        drift = np.sqrt(2 * (1 - correlation))
        return np.where(exists, (value - mean) / spread, 0), np.where(exists, drift, np.float32(1.0))


class DampedAnomaly(_LastValue):
    """The last known anomaly, damped by its correlation with the anomaly at the target time."""

    name: ClassVar[str] = "damped-anomaly"

    def core(self, inputs: Inputs, anomaly: Floats, known: Known) -> tuple[Floats, Floats]:
        """Return the correlation times the last anomaly, and the residual standard deviation."""
        targets = list(self.task.target_channels)
        value, exists, correlation = self._latest(anomaly[:, :, targets], known[:, :, targets])
        residual = np.sqrt(1 - np.square(correlation))
        return correlation * value, np.where(exists, residual, np.float32(1.0))
