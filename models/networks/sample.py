"""What a network sees of some issue times, and the sizes that it is built for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from models.task import Task

CALENDAR = 6


class Places(NamedTuple):
    """Where the locations lie. A network may be shown other places than it was built with.

    Attributes:
        position: (location, 2) within the unit square, east and north.
        static: (location, static), standardised fields that do not change.
        row: (location,), each location's own row of learnt embeddings; -1 for one that training never saw.
        grid: (rows, columns) of a regular grid whose cells the locations are, row by row; None for stations.
    """

    position: Tensor
    static: Tensor
    row: Tensor
    grid: tuple[int, int] | None

    def on(self, device: torch.device) -> Places:
        """The same places on a device."""
        return Places(self.position.to(device), self.static.to(device), self.row.to(device), self.grid)


class Sample(NamedTuple):
    """What the network sees of n issue times, in units of the climatic deviation.

    Attributes:
        anomaly: (n, frame, channel, location), 0 where missing.
        known: same shape, 1 where known, else 0.
        calendar: (n, frame, 6), sine and cosine of year, day and week.
        ahead: (n, lead, 6), the same of the target times.
        covariates: (n, lead, covariate, location), standardised, 0 where nothing had been said.
        said: same shape, 1 where something had been said, else 0.
        base: (n, lead, target, location, level), ordered quantiles to correct.
        deviation: (n, lead, target, location), deviation of the base.
        low: same shape, the lower physical limit as an anomaly; -inf where there is none.
        high: same shape, the upper one; inf where there is none.
        places: where the locations lie.
    """

    anomaly: Tensor
    known: Tensor
    calendar: Tensor
    ahead: Tensor
    covariates: Tensor
    said: Tensor
    base: Tensor
    deviation: Tensor
    low: Tensor
    high: Tensor
    places: Places


@dataclass(frozen=True, slots=True)
class Sizes:
    """Lengths of the axes that a network cannot do without knowing; batch, grid and locations are free.

    Attributes:
        channels: input variables.
        targets: forecast variables.
        covariates: variables known in advance.
        static: fields that do not change.
        frames: frames that go in.
        leads: frames that come out.
        levels: the quantile levels.
        locations: how many locations have an embedding of their own.
        scattered: whether locations are stations and not the cells of a grid.
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
    def of(cls, task: Task, frames: int) -> Sizes:
        """The sizes of a task, of whose context the last `frames` are read."""
        return cls(
            channels=len(task.channels),
            targets=len(task.targets),
            covariates=len(task.covariates),
            static=len(task.static),
            frames=frames,
            leads=task.leads,
            levels=task.quantiles,
            locations=len(task.locations),
            scattered=task.grid is None,
        )

    @property
    def median(self) -> int:
        """Position of the median among the levels."""
        return self.levels.index(0.5)
