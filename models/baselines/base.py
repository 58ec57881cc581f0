"""Baselines: a point and a deviation in anomaly space, dressed with the errors made before."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.base import Epoch, Model, Progress, State, prefixed, scoped, silent
from models.errors import ModelError, NotFittedError
from models.statistics.calibration import widening
from models.statistics.climate import Climate, fit_climate
from models.statistics.dressing import Dressing, fit_dressing, pinball
from models.statistics.series import Series, batches, collect, transformed
from models.statistics.transforms import forward, inverse
from models.task import Batch, Inputs, Windows

Floats = NDArray[np.float32]
Known = NDArray[np.bool_]


class Baseline(Model):
    """A model whose core is a mean and a deviation of the standardised anomaly.

    Subclasses add `_learn` and `core`; what the record alone does not tell they learn in `_study`. Climate,
    transforms, gaps, quantiles, limits and state are shared.
    """

    # Most errors (window, lead, target, location) that dressing and losses look at; windows are thinned evenly.
    most_errors: ClassVar[int] = 40_000_000

    _climate: Climate | None = None
    _dressing: Dressing | None = None

    @abstractmethod
    def _learn(self, anomaly: Floats, known: Known, validation: Windows) -> None:
        """Learn from a record (frame, channel, location) of anomalies."""

    def _study(self, record: Series, train: Windows, validation: Windows) -> None:
        """Learn from the record and the windows it was cut from; by default what `_learn` makes of the record."""
        anomaly = self._known_climate().standardise(record.time, record.values, record.mask)
        self._learn(anomaly, record.mask, validation)

    @abstractmethod
    def core(self, inputs: Inputs, anomaly: Floats, known: Known) -> tuple[Floats, Floats]:
        """Mean and deviation, each (n, lead, target, location), from what `anomalies` gave."""

    @abstractmethod
    def _learnt(self) -> dict[str, NDArray[Any]]:
        """The arrays that `_learn` found."""

    @abstractmethod
    def _restore(self, state: State) -> None:
        """Take the arrays that `_learnt` gave."""

    def fit(
        self,
        train: Windows,
        validation: Windows,
        *,
        seed: int = 0,
        budget_seconds: float | None = None,
        progress: Progress = silent,
    ) -> None:
        """Learn in one pass; nothing is random, so `seed` and `budget_seconds` change nothing.

        Raises:
            ModelError: there is nothing to learn from, or the windows are of another task.
        """
        started = time.perf_counter()
        self._check_windows(train, validation)
        record = collect(train)
        if not record.mask.any():
            raise ModelError(f"{self.name}: every training value is missing")
        self._climate = fit_climate(self.task, record, collect(validation) if len(validation) else None)
        self._study(record, train, validation)
        errors = self._errors(train)
        if len(validation):
            errors *= np.float32(widening(errors, self._errors(validation)))
        self._dressing = fit_dressing(self.task.quantiles, errors)
        losses = self.loss(train), self.loss(validation)
        progress(Epoch(1, 1, *losses, time.perf_counter() - started))

    def predict(self, inputs: Inputs) -> Floats:
        """Quantiles (n, lead, target, location, quantile) in physical units.

        Raises:
            NotFittedError: nothing has been learnt yet.
            ModelError: the arrays do not fit the task.
        """
        inputs.check(self.task)
        return self.physical(self.quantiles(inputs), inputs.target_time)

    def quantiles(self, inputs: Inputs) -> Floats:
        """Quantiles (n, lead, target, location, quantile) of the standardised anomaly."""
        return self.dress(*self.core(inputs, *self.anomalies(inputs)))

    def dress(self, mean: Floats, deviation: Floats) -> Floats:
        """Quantiles (n, lead, target, location, quantile) around what `core` gave."""
        if self._dressing is None:
            raise NotFittedError(self.name)
        return self._dressing(mean, deviation)

    def anomalies(self, inputs: Inputs) -> tuple[Floats, Known]:
        """Standardised inputs (n, context, channel, location), 0 where missing, and what is known."""
        every = tuple(range(len(self.task.channels)))
        values, known = transformed(self.task, inputs.values, inputs.mask, every)
        return self._known_climate().standardise(inputs.time, values, known), known

    def target_anomalies(self, batch: Batch) -> tuple[Floats, Known]:
        """Standardised truth (n, lead, target, location), 0 where missing, and what is known."""
        channels = self.task.target_channels
        values, known = transformed(self.task, batch.target, batch.target_mask, channels)
        mean, spread = self.expected(batch.inputs.target_time)
        return np.where(known, (values - mean) / spread, np.float32(0.0)), known

    def expected(self, target_time: NDArray[np.datetime64]) -> tuple[Floats, Floats]:
        """Climatic mean and spread of the targets, each (n, lead, target, location), working space."""
        mean, spread = self._known_climate().at(target_time)
        targets = list(self.task.target_channels)
        return mean[:, :, targets], spread[:, :, targets]

    def limits(self, target_time: NDArray[np.datetime64]) -> tuple[Floats, Floats]:
        """The physical limits as standardised anomalies, each (n, lead, target, location), infinite where none."""
        mean, spread = self.expected(target_time)
        low, high = np.full_like(mean, -np.inf), np.full_like(mean, np.inf)
        for position, channel in enumerate(self.task.target_channels):
            for side, limit in zip((low, high), self.task.limits[channel], strict=True):
                if limit is not None:
                    working = forward(self.task.transforms[channel], np.array([limit], np.float32))
                    side[:, :, position] = (working - mean[:, :, position]) / spread[:, :, position]
        return low, high

    def physical(self, quantiles: Floats, target_time: NDArray[np.datetime64]) -> Floats:
        """Anomaly quantiles in physical units: finite, ordered and within the limits."""
        mean, spread = self.expected(target_time)
        working = mean[..., None] + spread[..., None] * np.maximum.accumulate(quantiles, axis=-1)
        out = np.empty(working.shape, np.float32)
        for position, channel in enumerate(self.task.target_channels):
            values = inverse(self.task.transforms[channel], working[:, :, position])
            low, high = self.task.limits[channel]
            if low is not None or high is not None:
                values = np.clip(values, low, high)
            out[:, :, position] = values
        return out

    def loss(self, windows: Windows) -> float:
        """Mean pinball loss of the standardised anomaly over `windows`; NaN where nothing was observed."""
        total, count = 0.0, 0
        for batch in batches(windows, most=self._most_windows()):
            part, known = pinball(self.quantiles(batch.inputs), self.task.quantiles, *self.target_anomalies(batch))
            total, count = total + part, count + known
        return total / count if count else float("nan")

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything learnt, by name.

        Raises:
            NotFittedError: nothing has been learnt yet.
        """
        climate = self._known_climate()
        if self._dressing is None:
            raise NotFittedError(self.name)
        return {
            **prefixed("climate", climate.state()),
            **prefixed("dressing", self._dressing.state()),
            **prefixed("core", self._learnt()),
        }

    def load_state(self, state: State) -> None:
        """Take over a state; see `Model.load_state`."""
        climate = Climate.from_state(self.task, scoped("climate", state))
        dressing = Dressing.from_state(self.task, scoped("dressing", state))
        self._restore(scoped("core", state))
        self._climate, self._dressing = climate, dressing

    def options(self) -> dict[str, Any]:
        """The constructor options, ready for JSON."""
        return {}

    def _known_climate(self) -> Climate:
        if self._climate is None:
            raise NotFittedError(self.name)
        return self._climate

    def _errors(self, windows: Windows) -> Floats:
        """Standardised errors (n, lead, target, location) of the core; NaN where nothing was observed."""
        parts = []
        for batch in batches(windows, most=self._most_windows()):
            mean, deviation = self.core(batch.inputs, *self.anomalies(batch.inputs))
            truth, known = self.target_anomalies(batch)
            parts.append(np.where(known, (truth - mean) / deviation, np.float32(np.nan)))
        return np.concatenate(parts)

    def _most_windows(self) -> int:
        task = self.task
        return max(1, self.most_errors // (task.leads * len(task.targets) * len(task.locations)))
