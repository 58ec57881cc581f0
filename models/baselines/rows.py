"""One row of features for each issue time, lead and location: what a pooled regression looks at."""

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

# So many locations all see each other; of more, each sees the nearest in eight directions, among so many near ones.
_FEW = 48
_LOOK = 24
_NETWORK_FRAMES = 2
_DAY = 86_400
_PERIODS = (_DAY, 7 * _DAY)


def canonical(task: Task) -> Index:
    """The locations from south to north, then west to east, then by id: an order that no caller can change."""
    return np.lexsort((np.array(task.locations), np.array(task.longitude), np.array(task.latitude)))


@dataclass(frozen=True, slots=True)
class Rows:
    """Features of single values to forecast, NaN where unknown; alike for all locations, which coordinates tell apart.

    In this order: lead; the anomaly to correct; its age; own last frames of every channel, and the last one less
    those before; the same phase of the day and of the week, for sub-daily data; the last frames of the network's
    mean; the last value of the locations seen, and less the own; sine and cosine of the year, the day and the week
    at the target time; covariates at the target time, as anomalies and as they are; coordinates; static fields.
    Differences are there because trees, which split one feature at a time, do not find them.

    Attributes:
        task: what is forecast.
        lags: own last frames that are features.
        seen: (location, m), the locations whose last values each location sees; -1 where there is none.
    """

    task: Task
    lags: int
    seen: Index

    @classmethod
    def of(cls, task: Task, lags: int) -> Rows:
        """The rows of a task: all locations see each other where they are few, the nearest in eight directions else."""
        order = canonical(task)
        if len(order) <= _FEW:
            return cls(task, lags, np.broadcast_to(order, (len(order), len(order))))
        east, north = np.deg2rad(task.longitude), np.deg2rad(task.latitude)
        points = np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=-1)
        return cls(task, lags, _round_about(points, order))

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
        places: Index,
    ) -> Floats:
        """Features (n, lead, location, feature) of one target at these leads and locations.

        Args:
            inputs: what was known.
            anomaly: (n, context, channel, location), standardised.
            known: same shape.
            base: (n, lead, location), a first forecast of the target.
            age: (n, location), frames since the target was last known.
            covariates: (n, lead, covariate, location), standardised, NaN where unknown.
            calendar: (6,), which of `cycles` the record was long enough to tell.
            target: position of the target on the channel axis.
            leads: positions on the lead axis.
            places: positions on the location axis.
        """
        task = self.task
        shape = (len(inputs), len(leads), len(places))
        seen = np.where(known, anomaly, np.float32(np.nan))
        own = seen[:, :, target]
        count = known[:, -_NETWORK_FRAMES:, target].sum(-1)
        mean = anomaly[:, -_NETWORK_FRAMES:, target].sum(-1) / np.where(count > 0, count, np.nan)
        others = np.where(self.seen[places] >= 0, own[:, -1][:, self.seen[places]], np.float32(np.nan))
        raw, said = inputs.ahead(task)
        columns = [
            (leads + 1)[None, :, None, None],
            base[:, leads][:, :, places][..., None],
            age[:, None, places, None],
            _flat(seen[:, -self.lags :, :, places]),
            _flat(seen[:, -1:, :, places] - seen[:, -self.lags : -1, :, places]),
            *(self._phase(own, leads, places, period) for period in _periods(task)),
            mean[:, None, None, :],
            others[:, None],
            (others - own[:, -1][:, places, None])[:, None],
            (cycles(inputs.target_time[:, leads]) * calendar)[:, :, None],
            np.moveaxis(covariates[:, leads][..., places], 2, -1),
            np.moveaxis(np.where(said, raw, np.float32(np.nan))[:, leads][..., places], 2, -1),
            np.array([task.longitude, task.latitude, *task.static_values]).T[places],
        ]
        wide = [np.broadcast_to(column, (*shape, column.shape[-1])) for column in columns]
        return np.concatenate(wide, axis=-1, dtype=np.float32, casting="same_kind")

    def _phase(self, own: Floats, leads: Index, places: Index, period: int) -> Floats:
        """The last value (n, lead, location, 1) a whole number of periods before each target time."""
        steps = period // self.task.step_seconds
        frame = self.task.context + leads - steps * -(-(leads + 1) // steps)
        value = own[:, np.maximum(frame, 0)][:, :, places]
        return np.where(frame[:, None] >= 0, value, np.float32(np.nan))[..., None]


def told(task: Task, days: float) -> Known:
    """Which of `cycles` (6,) a record of this length can tell: one that went round once, or often if short."""
    daily = task.step_seconds < _DAY
    return np.repeat([days >= 350, daily, days >= 28], 2)


def _periods(task: Task) -> list[int]:
    """The cycles, in seconds, whose phase a frame before the last can share with a target."""
    whole = [period for period in _PERIODS if period % task.step_seconds == 0]
    return whole if task.step_seconds < _DAY else []


def _flat(frames: Floats) -> Floats:
    """Frames (n, frame, channel, location) as features (n, 1, location, frame * channel)."""
    n, count, channels, places = frames.shape
    return np.moveaxis(frames, 3, 1).reshape(n, 1, places, count * channels)


def _round_about(points: NDArray[np.float64], order: Index) -> Index:
    """For each point on the unit sphere the nearest to its north, north-east and so on; -1 where there is none."""
    near = min(len(order), _LOOK + 1)
    _, nearest = KDTree(points[order]).query(points, near)
    found = np.full((len(points), 8), -1)
    for rank in range(near - 1, 0, -1):
        other = order[nearest[:, rank]]
        way = points[other] - points
        east = points[:, 0] * way[:, 1] - points[:, 1] * way[:, 0]
        sector = np.round(np.arctan2(way[:, 2], east) / (np.pi / 4)).astype(np.intp) % 8
        found[np.arange(len(points)), sector] = other
    return found
