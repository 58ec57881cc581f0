"""Quantiles that cannot cross, as a correction of a base forecast."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

# softplus of this is 1: gaps start unscaled.
_UNSCALED = math.log(math.e - 1)


class OrderedCorrection(nn.Module):
    """Moves the median of a base forecast and scales each gap between neighbouring quantiles.

    Gaps keep their sign, so ordered stays ordered. The last layer starts at zero: an untrained head
    returns the base.

    Args:
        features: width of what it sees.
        targets: forecast variables.
        levels: number of quantiles.
        median: position of the median among them.
        width: width of its hidden layer.
        dropout: share of the hidden layer dropped in training.
    """

    def __init__(self, features: int, targets: int, levels: int, median: int, *, width: int, dropout: float) -> None:
        super().__init__()
        self.targets, self.levels, self.median = targets, levels, median
        self.body = nn.Sequential(nn.Linear(features, width), nn.GELU(), nn.Dropout(dropout))
        self.last = nn.Linear(width, targets * levels)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, features: Tensor, base: Tensor, deviation: Tensor) -> Tensor:
        """Corrected quantiles.

        Args:
            features: (n, lead, location, features).
            base: (n, lead, target, location, level), ordered quantiles.
            deviation: (n, lead, target, location), the unit of the shift of the median.
        """
        raw = self.last(self.body(features)).unflatten(-1, (self.targets, self.levels)).transpose(2, 3)
        shift, stretch = raw[..., :1], functional.softplus(raw[..., 1:] + _UNSCALED)
        median = base[..., self.median : self.median + 1] + deviation.unsqueeze(-1) * shift
        gaps = base.diff(dim=-1) * stretch
        below = gaps[..., : self.median].flip(-1).cumsum(-1).flip(-1)
        above = gaps[..., self.median :].cumsum(-1)
        return torch.cat([median - below, median, median + above], dim=-1)
