"""Weights of a network's correction, chosen on validation data."""

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
from models.statistics.calibration import choose_weight
from models.statistics.dressing import level_widths
from models.task import Task

_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
_SPREADS = tuple(0.8 * 1.03**step for step in range(31))

ValidationBatch = tuple[Tensor, Tensor, Tensor, Tensor]
"""Base and corrected quantiles (n, lead, target, location, level), the truth, and its weight, 0 where unknown."""


@dataclass(frozen=True, slots=True)
class CorrectionWeights:
    """Mixes a corrected forecast with its base.

    Attributes:
        weight: (lead,), weight of the corrected forecast, between 0 and 1.
        spread: factor on the distance of each corrected quantile from the median, at least 1.
        median: position of the median among the levels.
    """

    weight: NDArray[np.float32]
    spread: float
    median: int

    def __call__(self, base: Tensor, corrected: Tensor) -> Tensor:
        """Return the mixed quantiles, from quantiles (n, lead, target, location, level)."""
        weight = torch.from_numpy(self.weight).to(base)[:, None, None, None]
        return torch.lerp(base, _widen(corrected, self.spread, self.median), weight)

    def describe(self) -> str:
        """Return the weights by lead as text, such as `50 % (lead 1), 0 % (2-24)`."""
        bounds = [0, *(np.flatnonzero(np.diff(self.weight)) + 1).tolist(), len(self.weight)]
        parts = []
        for first, end in pairwise(bounds):
            leads = f"{first + 1}-{end}" if end > first + 1 else f"{end}"
            parts.append(f"{self.weight[first]:.0%} ({'lead ' if not first else ''}{leads})".replace("%", " %"))
        return ", ".join(parts)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays from which `from_state` builds equal weights."""
        return {"weight": self.weight, "spread": np.array([self.spread])}

    @classmethod
    def from_state(cls, task: Task, state: State) -> CorrectionWeights:
        """Return the weights stored in `state`.

        Raises:
            ModelError: an array is missing or does not fit the task.
        """
        spread = float(take(state, "spread", (1,))[0])
        return cls(take(state, "weight", (task.leads,)), spread, task.quantile_levels.index(0.5))


def choose_weights(
    task: Task, validation: Iterable[ValidationBatch], origins: NDArray[np.integer]
) -> CorrectionWeights:
    """Return the spread factor, then the weight of each lead, with the least CRPS on validation.

    A weight above 0 must gain more than its standard error. The base is calibrated already, so the corrected forecast
    is widened only relative to it.

    Args:
        task: what is forecast.
        validation: batches in order of time.
        origins: (issue,), the frame from which each issue of all batches counts its leads.
    """
    median = task.quantile_levels.index(0.5)
    levels, widths = torch.tensor(task.quantile_levels), torch.from_numpy(level_widths(task.quantile_levels))
    spread_losses, rows = np.zeros((2, len(_SPREADS))), []
    batches = list(validation)

    def loss(quantiles: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
        return pinball(quantiles, truth, levels.to(truth), widths.to(truth)) * weight

    for base, corrected, truth, weight in batches:
        for which, forecast in enumerate((base, corrected)):
            for step, spread in enumerate(_SPREADS):
                spread_losses[which, step] += float(loss(_widen(forecast, spread, median), truth, weight).sum())
    base_spread, corrected_spread = (_SPREADS[int(row.argmin())] for row in spread_losses)
    factor = max(1.0, corrected_spread / base_spread)
    for base, corrected, truth, weight in batches:
        wide = _widen(corrected, factor, median)
        mixed = (torch.lerp(base, wide, share) for share in _WEIGHTS)
        rows.append(torch.stack([loss(one, truth, weight).sum((-2, -1)) for one in mixed]).cpu().numpy())
    return CorrectionWeights(choose_weight(np.concatenate(rows, axis=1), _WEIGHTS, origins), factor, median)


def _widen(quantiles: Tensor, spread: float, median: int) -> Tensor:
    middle = quantiles[..., median : median + 1]
    return middle + spread * (quantiles - middle)
