"""Set convolution from scattered locations to a grid and back, for any number of locations and any gaps.

Gordon et al. 2020, Convolutional conditional neural processes (arXiv:1910.13556).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_EPSILON = 1e-3


def unit_square(longitude: tuple[float, ...], latitude: tuple[float, ...]) -> NDArray[np.float32]:
    """Return positions (location, 2) within the unit square, with the same scale on both axes; the longer one is 0.8.

    The circle of longitudes is cut in its widest gap, so the order of locations does not matter.
    """
    around = np.sort(np.asarray(longitude, np.float64) % 360.0)
    gaps = np.diff(around, append=around[0] + 360.0)
    first = around[(int(np.round(gaps, 9).argmax()) + 1) % len(around)]
    east = (np.asarray(longitude, np.float64) - first + 1e-9) % 360.0
    north = np.asarray(latitude, np.float64)
    east = east * math.cos(math.radians(float(north.mean())))
    plane = np.stack([east, north], axis=-1)
    low, high = plane.min(0), plane.max(0)
    side = max(float((high - low).max()), 1e-6)
    square: NDArray[np.float32] = ((plane - (low + high) / 2) / side * 0.8 + 0.5).astype(np.float32)
    return square


def lattice(size: int) -> Tensor:
    """Return the centres (size * size, 2) of the cells of a square grid over the unit square, row by row."""
    line = (torch.arange(size) + 0.5) / size
    north, east = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([east.flatten(), north.flatten()], dim=-1)


class Kernel(nn.Module):
    """Gaussian weights between two sets of points, with a learnt length scale.

    Args:
        scale: initial length scale, relative to the unit square.
    """

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Return weights (source, target) in (0, 1] of positions (source, 2) and (target, 2)."""
        square = (source[:, None] - target[None]).square().sum(-1)
        return torch.exp(-0.5 * square * torch.exp(-2 * self.log_scale))


class ToGrid(nn.Module):
    """Maps values at locations to their density and weighted mean on a grid; missing values have no weight.

    Args:
        size: cells along each side of the grid.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.kernel = Kernel(1.0 / size)
        self.size = size

    def forward(self, values: Tensor, known: Tensor, positions: Tensor) -> Tensor:
        """From (m, channel, location), 0 where not `known`, to (m, 2 * channel, size, size)."""
        weights = self.kernel(positions, lattice(self.size).to(positions))
        density = known @ weights
        mean = (values @ weights) / (density + _EPSILON)
        return torch.cat([density.tanh(), mean], dim=1).view(len(values), 2 * values.shape[1], self.size, self.size)


class FromGrid(nn.Module):
    """Interpolates a field on the grid to any positions, by a weighted mean.

    Args:
        size: cells along each side of the grid; sets only the initial length scale.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.kernel = Kernel(0.7 / size)

    def forward(self, field: Tensor, positions: Tensor) -> Tensor:
        """From (m, channel, size, size) to (m, channel, location)."""
        weights: Tensor = self.kernel(lattice(field.shape[-1]).to(positions), positions)
        return field.flatten(2) @ (weights / (weights.sum(0, keepdim=True) + _EPSILON))
