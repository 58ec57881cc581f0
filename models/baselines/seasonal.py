"""Seasonal naive: the value of the same hour yesterday, of the same hour last week, of the same day last year."""

from __future__ import annotations

from typing import Any, ClassVar

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
# Prior weight, in pairs, of the pool of all locations.
_POOLING = 30.0
# Windows that judge a season; more change the choice no longer.
_JUDGES = 1024


class SeasonalNaive(Baseline):
    """The value one season before the target time, or the latest one known a whole number of seasons before.

    That value must lie within the context; where it does not, or is missing, climatology stands in. So a season
    that is longer than context and lead together is forecast by climatology, which is the mean over all the years
    where seasonal naive has the last. By default the season is the day; where the context holds a week, validation
    chooses between the two (without validation: the week where the climate found one). For a daily step validation
    chooses between year and week (without: the year), and for a longer step it is the year.

    Args:
        task: what to forecast.
        season: steps in a season.

    Raises:
        ModelError: `season` is no whole number of steps.
    """

    name: ClassVar[str] = "seasonal-naive"

    def __init__(self, task: Task, *, season: int | None = None) -> None:
        super().__init__(task)
        if season is not None and (not isinstance(season, int) or season < 1):
            raise ModelError(f"seasonal-naive: season must be a whole number of steps, found {season}")
        self._given = season

    def options(self) -> dict[str, Any]:
        """The constructor options, ready for JSON."""
        return {"season": self._given}

    def _learn(self, anomaly: Floats, known: Known, validation: Windows) -> None:
        targets = list(self.task.target_channels)
        seasons = self._seasons() if self._given is None else [self._given]
        drifts = {season: self._drifts(anomaly[:, targets], known[:, targets], season) for season in seasons}
        best = seasons[0]
        if len(validation) and len(seasons) > 1:
            best = min(seasons, key=lambda season: self._try(season, drifts[season], validation))
        self._season, self._drift = best, drifts[best]

    def core(self, inputs: Inputs, anomaly: Floats, known: Known) -> tuple[Floats, Floats]:
        """The value seasons ago as an anomaly of the target time, and how far anomalies drift in that time."""
        targets = list(self.task.target_channels)
        there, now = self.expected(inputs.time), self.expected(inputs.target_time)
        value, known = there[0] + there[1] * anomaly[:, :, targets], known[:, :, targets]
        shape = (len(inputs), self.task.leads, *value.shape[2:])
        mean, deviation = np.zeros(shape, np.float32), np.ones(shape, np.float32)
        for lead in range(self.task.leads):
            # Frames back from the target to the newest one of its phase, and on to the oldest; nearer ones win.
            for ago in reversed(_same_phase(lead + 1, self._season, self.task.context)):
                frame = self.task.context + lead - ago
                found = known[:, frame]
                then = (value[:, frame] - now[0][:, lead]) / now[1][:, lead]
                mean[:, lead] = np.where(found, then, mean[:, lead])
                deviation[:, lead] = np.where(found, self._drift[ago // self._season - 1], deviation[:, lead])
        return mean, deviation

    def _seasons(self) -> list[int]:
        """The seasons to choose from, the usual one first."""
        step = self.task.step_seconds
        day, week, year = (max(round(length / step), 1) for length in (_DAY, _WEEK, _YEAR))
        if step >= _DAY:
            return [year, week] if step == _DAY else [year]
        if week > self.task.context:
            return [day]
        return [week, day] if self._known_climate().basis.weekly else [day, week]

    def _drifts(self, anomaly: Floats, known: Known, season: int) -> Floats:
        """Deviation (seasons, target, location) of the change of an anomaly over 1, 2, .. seasons."""
        most = _count(self.task, season)
        out = np.empty((most, *anomaly.shape[1:]), np.float32)
        for number in range(most):
            lag = (number + 1) * season
            early, late = slice(0, max(len(anomaly) - lag, 0)), slice(lag, None)
            both = known[early] & known[late]
            square = np.where(both, np.square(anomaly[late] - anomaly[early]), 0).sum(0, dtype=np.float64)
            count = both.sum(0)
            # Two unrelated anomalies differ by the square root of 2.
            pooled = (square.sum(-1, keepdims=True) + 2) / (count.sum(-1, keepdims=True) + 1)
            out[number] = np.sqrt((square + _POOLING * pooled) / (count + _POOLING))
        return np.maximum(out, np.float32(1e-3))

    def _try(self, season: int, drift: Floats, validation: Windows) -> float:
        """Squared error on validation with this season."""
        self._season, self._drift = season, drift
        total = 0.0
        for batch in batches(validation, most=_JUDGES):
            mean, _ = self.core(batch.inputs, *self.anomalies(batch.inputs))
            truth, known = self.target_anomalies(batch)
            total += float(np.square(truth - mean, where=known, out=np.zeros_like(mean)).sum())
        return total

    def _learnt(self) -> dict[str, NDArray[Any]]:
        return {"season": np.array([self._season]), "drift": self._drift}

    def _restore(self, state: State) -> None:
        season = int(take(state, "season", (1,))[0])
        if season < 1:
            raise ModelError(f"state: season {season} is no season")
        shape = (_count(self.task, season), len(self.task.targets), len(self.task.locations))
        self._season, self._drift = season, take(state, "drift", shape)


def _count(task: Task, season: int) -> int:
    """The most seasons that lie between a frame of the context and a target time."""
    return max((task.context + task.leads - 1) // season, 1)


def _same_phase(lead: int, season: int, context: int) -> range:
    """Steps back from the target time to every context frame a whole number of seasons before, the newest first."""
    newest = -(-lead // season) * season
    return range(newest, context + lead, season)
