"""Seasonal naive: the value of the same time on the previous day, in the previous week or in the previous year."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from models.base import State, take
from models.baselines.base import Baseline, Floats, Known
from models.errors import ModelError
from models.statistics.series import batches
from models.task import Inputs, Task, Windows

_DAY = 86_400
_WEEK = 7 * _DAY
_YEAR = 31_556_952
# Prior weight, in pairs, of the mean of all locations.
_POOLING = 30.0
# Number of validation windows that a season is chosen on; more would hardly change it.
_MAX_VALIDATION = 1024


class SeasonalNaive(Baseline):
    """The latest known value a whole number of seasons before the target time.

    The value must lie within the context; where it does not or is missing, the forecast is climatology. A season longer
    than context and lead together is therefore forecast by climatology. By default the season is a day; where the
    context holds a week, validation chooses between the two (without validation: the week if the climate has a weekly
    cycle). For a daily step validation chooses between a year and a week (without: the year), and for a longer step it
    is a year.

    Args:
        task: what to forecast.
        season: steps in a season.

    Raises:
        ModelError: `season` is not a positive whole number.
    """

    name: ClassVar[str] = "seasonal-naive"

    _season: int

    def __init__(self, task: Task, *, season: int | None = None) -> None:
        super().__init__(task)
        if season is not None and (not isinstance(season, int) or season < 1):
            raise ModelError(f"seasonal-naive: season must be a whole number of steps, found {season}")
        self._option = season

    def options(self) -> dict[str, Any]:
        """Return the constructor options, ready for JSON."""
        return {"season": self._option}

    def remarks(self) -> tuple[str, ...]:
        """Return a remark if no frame of the context is of the same phase as a target time."""
        if any(_same_phase(lead + 1, self._season, self.task.context) for lead in range(self.task.leads)):
            return ()
        return (f"a season of {self._season} steps is longer than the context, so it forecasts climatology",)

    def _fit_anomalies(self, anomaly: Floats, known: Known, chooser: Windows | Self) -> None:
        targets = list(self.task.target_channels)
        if isinstance(chooser, SeasonalNaive):
            seasons = [chooser._season]
        else:
            seasons = self._seasons() if self._option is None else [self._option]
        drifts = {season: self._drifts(anomaly[:, targets], known[:, targets], season) for season in seasons}
        best = seasons[0]
        if not isinstance(chooser, SeasonalNaive) and len(chooser) and len(seasons) > 1:
            best = min(seasons, key=lambda season: self._squared_error(season, drifts[season], chooser))
        self._season, self._drift = best, drifts[best]

    def core(self, inputs: Inputs, anomaly: Floats, known: Known) -> tuple[Floats, Floats]:
        """Return the seasonal value as an anomaly of the target time, and the standard deviation of its change."""
        targets = list(self.task.target_channels)
        past, future = self.expected(inputs.time), self.expected(inputs.target_time)
        value, known = past[0] + past[1] * anomaly[:, :, targets], known[:, :, targets]
        shape = (len(inputs), self.task.leads, *value.shape[2:])
        mean, deviation = np.zeros(shape, np.float32), np.ones(shape, np.float32)
        for lead in range(self.task.leads):
            # From the oldest frame of the same phase to the newest, so that newer values replace older ones.
            for steps in reversed(_same_phase(lead + 1, self._season, self.task.context)):
                frame = self.task.context + lead - steps
                exists = known[:, frame]
                seasonal = (value[:, frame] - future[0][:, lead]) / future[1][:, lead]
                mean[:, lead] = np.where(exists, seasonal, mean[:, lead])
                deviation[:, lead] = np.where(exists, self._drift[steps // self._season - 1], deviation[:, lead])
        return mean, deviation

    def _seasons(self) -> list[int]:
        """Return the seasons to choose from, the default first."""
        step = self.task.step_seconds
        day, week, year = (max(round(length / step), 1) for length in (_DAY, _WEEK, _YEAR))
        if step >= _DAY:
            return [year, week] if step == _DAY else [year]
        if week > self.task.context:
            return [day]
        return [week, day] if self._fitted_climate().basis.weekly else [day, week]

    def _drifts(self, anomaly: Floats, known: Known, season: int) -> Floats:
        """Return the standard deviation (seasons, target, location) of changes of an anomaly over 1, 2, ... seasons."""
        most = _count(self.task, season)
        out = np.empty((most, *anomaly.shape[1:]), np.float32)
        for number in range(most):
            lag = (number + 1) * season
            early, late = slice(0, max(len(anomaly) - lag, 0)), slice(lag, None)
            both = known[early] & known[late]
            square = np.where(both, np.square(anomaly[late] - anomaly[early]), 0).sum(0, dtype=np.float64)
            count = both.sum(0)
            # The prior is 2, the mean squared difference of uncorrelated anomalies.
            pooled = (square.sum(-1, keepdims=True) + 2) / (count.sum(-1, keepdims=True) + 1)
            out[number] = np.sqrt((square + _POOLING * pooled) / (count + _POOLING))
        return np.maximum(out, np.float32(1e-3))

    def _squared_error(self, season: int, drift: Floats, validation: Windows) -> float:
        """Return the squared error on validation with this season."""
        self._season, self._drift = season, drift
        total = 0.0
        for batch in batches(validation, most=_MAX_VALIDATION):
            mean, _ = self.core(batch.inputs, *self.anomalies(batch.inputs))
            truth, known = self.target_anomalies(batch)
            total += float(np.square(truth - mean, where=known, out=np.zeros_like(mean)).sum())
        return total

    def _core_state(self) -> dict[str, NDArray[Any]]:
        return {"season": np.array([self._season]), "drift": self._drift}

    def _load_core_state(self, state: State) -> None:
        season = int(take(state, "season", (1,))[0])
        if season < 1:
            raise ModelError(f"state: season must be positive, found {season}")
        shape = (_count(self.task, season), len(self.task.targets), len(self.task.locations))
        self._season, self._drift = season, take(state, "drift", shape)


def _count(task: Task, season: int) -> int:
    """Return the largest number of seasons between a context frame and a target time."""
    return max((task.context + task.leads - 1) // season, 1)


def _same_phase(lead: int, season: int, context: int) -> range:
    """Return the steps from the target time back to every context frame of the same phase, the newest first."""
    newest = -(-lead // season) * season
    return range(newest, context + lead, season)
