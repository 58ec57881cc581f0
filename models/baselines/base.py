"""Baselines: a mean and a standard deviation of the anomaly, dressed with past errors."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from models.base import Epoch, Model, Progress, State, prefixed, scoped, silent
from models.errors import ModelError, NotFittedError
from models.statistics.climate import Climate, fit_climate, refit_climate
from models.statistics.dressing import Dressing, ordered, pinball
from models.statistics.forecast_size import PastForecasts, fit_dressing_by_size
from models.statistics.series import Series, batches, collect, transformed
from models.statistics.transforms import forward, inverse
from models.task import Batch, Inputs, Windows

# Most windows whose errors are dressed with. Errors of more are correlated with these: they would cost time and tell
# little. The reported losses, which choose nothing, are those of fewer windows still.
_MOST_DRESSED = 3000
_MOST_REPORTED = 500
_MOST_REPORTED_VALUES = 1_000_000

Floats = NDArray[np.float32]
Known = NDArray[np.bool_]


class Baseline(Model):
    """A model that forecasts the mean and the standard deviation of the standardised anomaly.

    Subclasses implement `_fit_anomalies` and `core`, and override `_fit_record` if they need more than the record of
    anomalies. What they choose on validation windows in `fit`, they take from the judged model in `refit`; both are
    passed as `chooser`. Climate, transforms, missing values, quantiles, limits and state are handled here.
    """

    # Maximum number of errors (window, lead, target, location) for dressing and losses; windows are sampled evenly.
    max_errors: ClassVar[int] = 10_000_000

    _climate: Climate | None = None
    _dressing: Dressing | None = None

    @abstractmethod
    def _fit_anomalies(self, anomaly: Floats, known: Known, chooser: Windows | Self) -> None:
        """Fit to a record (frame, channel, location) of anomalies."""

    def _fit_record(self, record: Series, train: Windows, chooser: Windows | Self) -> None:
        """Fit to the record and its windows; the default calls `_fit_anomalies`."""
        anomaly = self._fitted_climate().standardise(record.time, record.values, record.mask)
        self._fit_anomalies(anomaly, record.mask, chooser)

    def _training_windows(self, windows: Windows) -> Windows:
        """Return the windows to fit to; the default returns all."""
        return windows

    @abstractmethod
    def core(self, inputs: Inputs, anomaly: Floats, known: Known) -> tuple[Floats, Floats]:
        """Return mean and standard deviation, each (n, lead, target, location), from the result of `anomalies`."""

    @abstractmethod
    def _core_state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays learnt by the subclass."""

    @abstractmethod
    def _load_core_state(self, state: State) -> None:
        """Load the arrays of `_core_state`."""

    def fit(
        self,
        train: Windows,
        validation: Windows,
        *,
        seed: int = 0,
        budget_seconds: float | None = None,
        parts: Mapping[str, Model] | None = None,
        progress: Progress = silent,
    ) -> None:
        """Fit in one pass; `seed`, `budget_seconds` and `parts` have no effect.

        Raises:
            ModelError: there is nothing to learn from, or the windows belong to another task.
        """
        started = time.perf_counter()
        self._check_windows(train, validation)
        train = self._training_windows(train)
        self._fit_core(train, validation)
        unseen = self._past_forecasts(validation) if len(validation) else None
        self._dressing = fit_dressing_by_size(self.task.quantile_levels, self._past_forecasts(train), unseen)
        seen_loss, unseen_loss = (self._reported_loss(windows) for windows in (train, validation))
        progress(Epoch(1, 1, seen_loss, unseen_loss, time.perf_counter() - started))

    def refit(
        self,
        judged: Model,
        windows: Windows,
        *,
        start: Model | None = None,
        seed: int = 0,
        budget_seconds: float | None = None,
        parts: Mapping[str, Model] | None = None,
        progress: Progress = silent,
    ) -> None:
        """Fit with the dressing and the choices of `judged`; the other arguments have no effect.

        Raises:
            ModelError: there is nothing to learn from, the windows belong to another task, or `judged` has another
                name, task or options.
            NotFittedError: `judged` is not fitted.
        """
        started = time.perf_counter()
        recipe = self._same_recipe(judged)
        self._check_windows(windows)
        dressing = recipe._fitted_dressing()
        windows = self._training_windows(windows)
        self._fit_core(windows, recipe)
        self._dressing = dressing
        progress(Epoch(1, 1, self._reported_loss(windows), float("nan"), time.perf_counter() - started))

    def _fit_core(self, windows: Windows, chooser: Windows | Self) -> None:
        """Fit everything but the dressing."""
        record = collect(windows)
        if not record.mask.any():
            raise ModelError(f"{self.name}: every training value is missing")
        if isinstance(chooser, Baseline):
            self._climate = refit_climate(chooser._fitted_climate().basis, record)
        else:
            self._climate = fit_climate(self.task, record, collect(chooser) if len(chooser) else None)
        self._fit_record(record, windows, chooser)

    def predict(self, inputs: Inputs) -> Floats:
        """Return quantiles (n, lead, target, location, quantile) in physical units.

        Raises:
            NotFittedError: the model is not fitted.
            ModelError: the arrays do not fit the task.
        """
        inputs.check(self.task)
        return self.physical(self.quantiles(inputs), inputs.target_time)

    def quantiles(self, inputs: Inputs) -> Floats:
        """Return quantiles (n, lead, target, location, quantile) of the standardised anomaly."""
        return self.dress(*self.core(inputs, *self.anomalies(inputs)))

    def dress(self, mean: Floats, deviation: Floats) -> Floats:
        """Return quantiles (n, lead, target, location, quantile) from the result of `core`."""
        return self._fitted_dressing()(mean, deviation)

    def anomalies(self, inputs: Inputs) -> tuple[Floats, Known]:
        """Return standardised inputs (n, context, channel, location), 0 where missing, and their mask."""
        every = tuple(range(len(self.task.channels)))
        values, known = transformed(self.task, inputs.values, inputs.mask, every)
        return self._fitted_climate().standardise(inputs.time, values, known), known

    def target_anomalies(self, batch: Batch) -> tuple[Floats, Known]:
        """Return the standardised truth (n, lead, target, location), 0 where missing, and its mask."""
        channels = self.task.target_channels
        values, known = transformed(self.task, batch.target, batch.target_mask, channels)
        mean, spread = self.expected(batch.inputs.target_time)
        return np.where(known, (values - mean) / spread, np.float32(0.0)), known

    def expected(self, target_time: NDArray[np.datetime64]) -> tuple[Floats, Floats]:
        """Return the climatic mean and spread of the transformed targets, each (n, lead, target, location)."""
        mean, spread = self._fitted_climate().at(target_time)
        targets = list(self.task.target_channels)
        return mean[:, :, targets], spread[:, :, targets]

    def limits(self, target_time: NDArray[np.datetime64]) -> tuple[Floats, Floats]:
        """Return the physical limits as standardised anomalies, each (n, lead, target, location); infinite for none."""
        mean, spread = self.expected(target_time)
        low, high = np.full_like(mean, -np.inf), np.full_like(mean, np.inf)
        for position, channel in enumerate(self.task.target_channels):
            for side, limit in zip((low, high), self.task.limits[channel], strict=True):
                if limit is not None:
                    working = forward(self.task.transforms[channel], np.array([limit], np.float32))
                    side[:, :, position] = (working - mean[:, :, position]) / spread[:, :, position]
        return low, high

    def physical(self, quantiles: Floats, target_time: NDArray[np.datetime64]) -> Floats:
        """Return anomaly quantiles in physical units: finite, ordered and within the limits."""
        mean, spread = self.expected(target_time)
        working = ordered(mean[..., None] + spread[..., None] * quantiles)
        out = np.empty(working.shape, np.float32)
        for position, channel in enumerate(self.task.target_channels):
            values = inverse(self.task.transforms[channel], working[:, :, position])
            low, high = self.task.limits[channel]
            if low is not None or high is not None:
                values = np.clip(values, low, high)
            out[:, :, position] = values
        return out

    def loss(self, windows: Windows, *, most: int = _MOST_DRESSED) -> float:
        """Return the mean CRPS of the standardised anomaly over at most `most` windows; NaN where none was observed."""
        total, count = 0.0, 0
        for batch in batches(windows, most=min(most, self._max_windows())):
            truth, known = self.target_anomalies(batch)
            loss = 2 * pinball(truth[..., None] - self.quantiles(batch.inputs), self.task.quantile_levels)
            total, count = total + float(loss[known].sum(dtype=np.float64)), count + int(known.sum())
        return total / count if count else float("nan")

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything learnt, by name.

        Raises:
            NotFittedError: the model is not fitted.
        """
        return {
            **prefixed("climate", self._fitted_climate().state()),
            **prefixed("dressing", self._fitted_dressing().state()),
            **prefixed("core", self._core_state()),
        }

    def load_state(self, state: State) -> None:
        """Load a state; see `Model.load_state`."""
        climate = Climate.from_state(self.task, scoped("climate", state))
        dressing = Dressing.from_state(self.task, scoped("dressing", state))
        self._load_core_state(scoped("core", state))
        self._climate, self._dressing = climate, dressing

    def options(self) -> dict[str, Any]:
        """Return the constructor options, ready for JSON."""
        return {}

    def _fitted_climate(self) -> Climate:
        if self._climate is None:
            raise NotFittedError(self.name)
        return self._climate

    def _fitted_dressing(self) -> Dressing:
        if self._dressing is None:
            raise NotFittedError(self.name)
        return self._dressing

    def _past_forecasts(self, windows: Windows) -> PastForecasts:
        """Return means and standardised errors of the core; an error is NaN where nothing was observed."""
        parts = []
        for batch in batches(windows, most=self._max_windows()):
            mean, deviation = self.core(batch.inputs, *self.anomalies(batch.inputs))
            truth, known = self.target_anomalies(batch)
            errors = np.where(known, (truth - mean) / deviation, np.float32(np.nan))
            parts.append((mean, errors, self.task.frame_numbers(batch.inputs.time[:, -1])))
        return PastForecasts(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _reported_loss(self, windows: Windows) -> float:
        return self.loss(windows, most=min(_MOST_REPORTED, max(1, _MOST_REPORTED_VALUES // self._values())))

    def _max_windows(self) -> int:
        return max(1, min(_MOST_DRESSED, self.max_errors // self._values()))

    def _values(self) -> int:
        """Return how many values a window has to forecast."""
        return self.task.leads * len(self.task.targets) * len(self.task.locations)
