"""Trend and remainder of a series, by a moving average (Zeng et al. 2023, arXiv:2205.13504)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.layers.temporal import along_time


class Decomposition(nn.Module):
    """Splits a series into its moving average and the remainder.

    The series is padded with its first and last values.

    Args:
        window: odd number of steps of the moving average.
    """

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return trend and remainder of x (time, ...), each in the shape of x."""
        side = self.window // 2
        padded = torch.cat([x[:1].expand(side, *x.shape[1:]), x, x[-1:].expand(side, *x.shape[1:])])
        trend = padded.unfold(0, self.window, 1).mean(-1)
        return trend, x - trend


class DecomposedLinear(nn.Module):
    """DLinear: one linear map from frames to leads for the trend, another for the remainder, shared by all series.

    Initially every lead is the mean of all frames.

    Args:
        frames: input steps.
        leads: output steps.
        window: odd number of steps of the moving average.
    """

    def __init__(self, frames: int, leads: int, *, window: int) -> None:
        super().__init__()
        self.split = Decomposition(window)
        self.trend = nn.Parameter(torch.full((leads, frames), 1 / frames))
        self.remainder = nn.Parameter(torch.full((leads, frames), 1 / frames))

    def forward(self, x: Tensor) -> Tensor:
        """From (frames, ...) to (leads, ...)."""
        trend, remainder = self.split(x)
        return along_time(self.trend, trend) + along_time(self.remainder, remainder)
