"""Features of a regression pooled over locations, one row for each issue time, lead and location."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from models.statistics.calendar import cycles
from models.task import Inputs, Task

Floats = NDArray[np.float32]
Known = NDArray[np.bool_]
Index = NDArray[np.intp]

# Up to this many locations are all features of each other. Of more, the nearest in each of eight directions are,
# among this many candidates.
_ALL_NEIGHBOURS = 48
_CANDIDATES = 24
_MEAN_FRAMES = 2
_DAY = 86_400
_PERIODS = (_DAY, 7 * _DAY)


def geographic_order(task: Task) -> Index:
    """Return the locations sorted by latitude, longitude and id, so that their order in the task does not matter."""
    return np.lexsort((np.array(task.locations), np.array(task.longitude), np.array(task.latitude)))


@dataclass(frozen=True, slots=True)
class FeatureBuilder:
    """Builds features of single forecast values, NaN where unknown, with the same meaning for all locations.

    In this order: lead; the anomaly to correct; its age; the latest frames of every channel at the location, and the
    last one minus those before; the last value of the same phase of the day and of the week, for sub-daily data; the
    latest means over all locations; the last value of the neighbours, and the same minus the location's own; sine and
    cosine of the year, the day and the week at the target time; covariates at the target time, as anomalies and in
    their own units; coordinates; static fields. Differences are features because trees, which split one feature at a
    time, do not find them.

    Attributes:
        task: what is forecast.
        lags: number of latest frames at the location.
        neighbours: (location, m), neighbours whose last values are features; -1 where there is none.
    """

    task: Task
    lags: int
    neighbours: Index

    @classmethod
    def of(cls, task: Task, lags: int) -> FeatureBuilder:
        """Return the builder of a task: few locations are all neighbours, many only the nearest in eight directions."""
        order = geographic_order(task)
        if len(order) <= _ALL_NEIGHBOURS:
            return cls(task, lags, np.broadcast_to(order, (len(order), len(order))))
        east, north = np.deg2rad(task.longitude), np.deg2rad(task.latitude)
        points = np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=-1)
        return cls(task, lags, _nearest_by_sector(points, order))

    def __call__(
        self,
        inputs: Inputs,
        anomaly: Floats,
        known: Known,
        base: Floats,
        age: Floats,
        covariates: Floats,
        calendar: Known,
        *,
        target: int,
        leads: Index,
        locations: Index,
    ) -> Floats:
        """Return features (n, lead, location, feature) of one target at these leads and locations.

        Args:
            inputs: what was known at the issue times.
            anomaly: (n, context, channel, location), standardised.
            known: same shape.
            base: (n, lead, location), the forecast of the target to correct.
            age: (n, location), frames since the target was last known.
            covariates: (n, lead, covariate, location), standardised, NaN where unknown.
            calendar: (6,), which of `cycles` to use; see `usable_cycles`.
            target: position of the target on the channel axis.
            leads: positions on the lead axis.
            locations: positions on the location axis.
        """
        task = self.task
        shape = (len(inputs), len(leads), len(locations))
        values = np.where(known, anomaly, np.float32(np.nan))
        own = values[:, :, target]
        count = known[:, -_MEAN_FRAMES:, target].sum(-1)
        mean = anomaly[:, -_MEAN_FRAMES:, target].sum(-1) / np.where(count > 0, count, np.nan)
        neighbours = self.neighbours[locations]
        others = np.where(neighbours >= 0, own[:, -1][:, neighbours], np.float32(np.nan))
        raw, mask = inputs.future_covariates(task)
        columns = [
            (leads + 1)[None, :, None, None],
            base[:, leads][:, :, locations][..., None],
            age[:, None, locations, None],
            _flat(values[:, -self.lags :, :, locations]),
            _flat(values[:, -1:, :, locations] - values[:, -self.lags : -1, :, locations]),
            *(self._phase(own, leads, locations, period) for period in _periods(task)),
            mean[:, None, None, :],
            others[:, None],
            (others - own[:, -1][:, locations, None])[:, None],
            (cycles(inputs.target_time[:, leads]) * calendar)[:, :, None],
            np.moveaxis(covariates[:, leads][..., locations], 2, -1),
            np.moveaxis(np.where(mask, raw, np.float32(np.nan))[:, leads][..., locations], 2, -1),
            np.array([task.longitude, task.latitude, *task.static_values]).T[locations],
        ]
        wide = [np.broadcast_to(column, (*shape, column.shape[-1])) for column in columns]
        return np.concatenate(wide, axis=-1, dtype=np.float32, casting="same_kind")

    def _phase(self, own: Floats, leads: Index, locations: Index, period: int) -> Floats:
        """Return the last value (n, lead, location, 1) a whole number of periods before each target time."""
        steps = period // self.task.step_seconds
        frame = self.task.context + leads - steps * -(-(leads + 1) // steps)
        value = own[:, np.maximum(frame, 0)][:, :, locations]
        return np.where(frame[:, None] >= 0, value, np.float32(np.nan))[..., None]


def usable_cycles(task: Task, days: float) -> Known:
    """Return which of `cycles` (6,) a record of this length in days can estimate."""
    daily, weekly = task.step_seconds < _DAY, task.calendar is None or task.step_seconds <= _DAY
    return np.repeat([days >= 350, daily, weekly and days >= 28], 2)


def _periods(task: Task) -> list[int]:
    """Return the periods, in seconds, whose phase is a feature; none for daily and slower data."""
    whole = [period for period in _PERIODS if period % task.step_seconds == 0]
    return whole if task.step_seconds < _DAY else []


def _flat(frames: Floats) -> Floats:
    """Return frames (n, frame, channel, location) as features (n, 1, location, frame * channel)."""
    n, count, channels, locations = frames.shape
    return np.moveaxis(frames, 3, 1).reshape(n, 1, locations, count * channels)


def _nearest_by_sector(points: NDArray[np.float64], order: Index) -> Index:
    """Return the nearest point in each of eight directions of points on the unit sphere; -1 where there is none."""
    count = min(len(order), _CANDIDATES + 1)
    _, nearest = KDTree(points[order]).query(points, count)
    neighbours = np.full((len(points), 8), -1)
    for rank in range(count - 1, 0, -1):
        other = order[nearest[:, rank]]
        direction = points[other] - points
        east = points[:, 0] * direction[:, 1] - points[:, 1] * direction[:, 0]
        sector = np.round(np.arctan2(direction[:, 2], east) / (np.pi / 4)).astype(np.intp) % 8
        neighbours[np.arange(len(points)), sector] = other
    return neighbours
