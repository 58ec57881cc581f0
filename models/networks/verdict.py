"""What validation says of a correction: how much wider it must be, and how much of it each lead may take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.base import State, take
from models.networks.losses import pinball
from models.statistics.calibration import choose_share
from models.statistics.dressing import level_widths
from models.task import Task

_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
_SPREADS = tuple(0.8 * 1.03**step for step in range(31))

Held = tuple[Tensor, Tensor, Tensor, Tensor]
"""Base and corrected quantiles (n, lead, target, location, level), the truth, and its weight, 0 where unknown."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a corrected forecast is mixed with its base.

    Attributes:
        share: (lead,), how much of the correction is taken.
        spread: factor on the distance of each corrected quantile from the median, at least 1.
        median: position of the median among the levels.
    """

    share: NDArray[np.float32]
    spread: float
    median: int

    def __call__(self, base: Tensor, corrected: Tensor) -> Tensor:
        """The forecast, of quantiles (n, lead, target, location, level)."""
        share = torch.from_numpy(self.share).to(base)[:, None, None, None]
        return torch.lerp(base, _widen(corrected, self.spread, self.median), share)

    def told(self) -> str:
        """The shares by lead, for a person, such as `50 % (lead 1), 0 % (2-24)`."""
        bounds = [0, *(np.flatnonzero(np.diff(self.share)) + 1).tolist(), len(self.share)]
        parts = []
        for first, end in pairwise(bounds):
            leads = f"{first + 1}-{end}" if end > first + 1 else f"{end}"
            parts.append(f"{self.share[first]:.0%} ({'lead ' if not first else ''}{leads})".replace("%", " %"))
        return ", ".join(parts)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Arrays from which `from_state` builds an equal verdict."""
        return {"share": self.share, "spread": np.array([self.spread])}

    @classmethod
    def from_state(cls, task: Task, state: State) -> Verdict:
        """The verdict that `state` describes.

        Raises:
            ModelError: an array is missing or does not fit the task.
        """
        spread = float(take(state, "spread", (1,))[0])
        return cls(take(state, "share", (task.leads,)), spread, task.quantiles.index(0.5))


def judge(task: Task, held: Iterable[Held]) -> Verdict:
    """Widen the correction where it is too sure, then take of it at each lead what gains more than its error.

    The base is calibrated already: the corrected forecast need only become as wide as it.
    """
    median = task.quantiles.index(0.5)
    levels, widths = torch.tensor(task.quantiles), torch.from_numpy(level_widths(task.quantiles))
    needed, rows = np.zeros((2, len(_SPREADS))), []
    parts = list(held)

    def loss(quantiles: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
        return pinball(quantiles, truth, levels.to(truth), widths.to(truth)) * weight

    for base, corrected, truth, weight in parts:
        for which, forecast in enumerate((base, corrected)):
            for step, spread in enumerate(_SPREADS):
                needed[which, step] += float(loss(_widen(forecast, spread, median), truth, weight).sum())
    wanted = [_SPREADS[int(row.argmin())] for row in needed]
    factor = max(1.0, wanted[1] / wanted[0])
    for base, corrected, truth, weight in parts:
        wide = _widen(corrected, factor, median)
        mixed = (torch.lerp(base, wide, share) for share in _SHARES)
        rows.append(torch.stack([loss(one, truth, weight).sum((-2, -1)) for one in mixed]).cpu().numpy())
    return Verdict(choose_share(np.concatenate(rows, axis=1), _SHARES), factor, median)


def _widen(quantiles: Tensor, spread: float, median: int) -> Tensor:
    middle = quantiles[..., median : median + 1]
    return middle + spread * (quantiles - middle)
