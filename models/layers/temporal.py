"""Convolution along time that never looks ahead, and the step from frames to leads."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class CausalConv(nn.Module):
    """Convolution along the leading axis: each step sees itself and earlier steps only (Bai et al. 2018).

    Before the first step there are zeros.

    Args:
        inputs: channels that enter.
        outputs: channels that leave.
        kernel: steps that are seen.
        dilation: distance between them.
    """

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 3, dilation: int = 1) -> None:
        super().__init__()
        self.shifts = [dilation * tap for tap in range(kernel)]
        self.mix = nn.Linear(kernel * inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """From (time, n, inputs, ...) to (time, n, outputs, ...)."""
        last = x.movedim(2, -1)
        seen = [last]
        for shift in self.shifts[1:]:
            kept = last[: max(0, len(last) - shift)]
            seen.append(functional.pad(kept, (0, 0) * (last.ndim - 1) + (len(last) - len(kept), 0)))
        found: Tensor = self.mix(torch.cat(seen, dim=-1)).movedim(-1, 2)
        return found


class FramesToLeads(nn.Module):
    """A linear map along time, the same for all channels and places; at first every lead is the last frame.

    Args:
        frames: steps that enter.
        leads: steps that leave.
    """

    def __init__(self, frames: int, leads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(leads, frames))
        with torch.no_grad():
            self.weight[:, -1] = 1

    def forward(self, x: Tensor) -> Tensor:
        """From (frames, ...) to (leads, ...)."""
        return along_time(self.weight, x)


def along_time(weight: Tensor, x: Tensor) -> Tensor:
    """Weights (leads, frames) times x (frames, ...), in whatever precision products are taken in."""
    return (weight @ x.flatten(1)).view(-1, *x.shape[1:])
