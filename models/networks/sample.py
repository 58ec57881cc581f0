"""Inputs of a network, and the dimensions that it is built for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.layers.setconv import unit_square
from models.task import Task

CALENDAR = 6


class Locations(NamedTuple):
    """The locations of a sample; they may differ from those that the network was trained on.

    Attributes:
        position: (location, 2) within the unit square, east and north.
        static: (location, static), standardised static fields.
        row: (location,), row of each location in the learnt embeddings; -1 for a location that training never saw.
        grid: (rows, columns) where the locations are the cells of a regular grid, row by row; None for stations.
    """

    position: Tensor
    static: Tensor
    row: Tensor
    grid: tuple[int, int] | None

    @classmethod
    def of(cls, task: Task) -> Locations:
        """Return all locations of a task."""
        static = np.array(task.static_values, np.float32).reshape(len(task.static), len(task.locations))
        spread = static.std(1, keepdims=True)
        static = (static - static.mean(1, keepdims=True)) / np.where(spread > 0, spread, 1)
        return cls(
            position=torch.from_numpy(unit_square(task.longitude, task.latitude)),
            static=torch.from_numpy(static.T.astype(np.float32)),
            row=torch.arange(len(task.locations)),
            grid=task.grid,
        )

    def to(self, device: torch.device) -> Locations:
        """Return the same locations on a device."""
        return Locations(self.position.to(device), self.static.to(device), self.row.to(device), self.grid)


class Sample(NamedTuple):
    """Inputs of n issue times, in units of the climatic standard deviation.

    Attributes:
        anomaly: (n, frame, channel, location), 0 where missing.
        known: same shape, 1 where known, else 0.
        calendar: (n, frame, 6), sine and cosine of the year, the day and the week.
        target_calendar: (n, lead, 6), the same for the target times.
        covariates: (n, lead, covariate, location), standardised, 0 where missing.
        covariate_mask: same shape, 1 where known, else 0.
        base: (n, lead, target, location, level), ordered quantiles to correct.
        deviation: (n, lead, target, location), standard deviation of the base.
        low: same shape, the lower physical limit as an anomaly; -inf where there is none.
        high: same shape, the upper one; inf where there is none.
        locations: the locations of the last axis.
    """

    anomaly: Tensor
    known: Tensor
    calendar: Tensor
    target_calendar: Tensor
    covariates: Tensor
    covariate_mask: Tensor
    base: Tensor
    deviation: Tensor
    low: Tensor
    high: Tensor
    locations: Locations

    def without_covariates(self) -> Sample:
        """Return the same sample as if no covariate were available."""
        empty = torch.zeros_like(self.covariates)
        return self._replace(covariates=empty, covariate_mask=empty)


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Axis lengths that a network is built for; the batch, the grid and the number of locations may vary.

    Attributes:
        channels: number of input variables.
        targets: number of forecast variables.
        covariates: number of covariates.
        static: number of static fields.
        frames: number of input frames.
        leads: number of forecast frames.
        levels: the quantile levels.
        locations: number of locations with a learnt embedding.
        scattered: whether locations are stations rather than cells of a grid.
    """

    channels: int
    targets: int
    covariates: int
    static: int
    frames: int
    leads: int
    levels: tuple[float, ...]
    locations: int
    scattered: bool

    @classmethod
    def of(cls, task: Task, frames: int) -> Dimensions:
        """Return the dimensions for a task, of which the network reads the last `frames` context frames."""
        return cls(
            channels=len(task.channels),
            targets=len(task.targets),
            covariates=len(task.covariates),
            static=len(task.static),
            frames=frames,
            leads=task.leads,
            levels=task.quantile_levels,
            locations=len(task.locations),
            scattered=task.grid is None,
        )

    @property
    def median(self) -> int:
        """Position of the median among the levels."""
        return self.levels.index(0.5)
