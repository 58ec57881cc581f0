"""Causal convolution along time, and a linear map from frames to leads."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class CausalConv(nn.Module):
    """Causal convolution along the leading axis (Bai et al. 2018), zero-padded before the first step.

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: number of steps.
        dilation: distance between steps.
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
        output: Tensor = self.mix(torch.cat(seen, dim=-1)).movedim(-1, 2)
        return output


class FramesToLeads(nn.Module):
    """A linear map along time, shared by all channels and locations; initially every lead is the last frame.

    Args:
        frames: input steps.
        leads: output steps.
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
    """Return weights (leads, frames) times x (frames, ...), in the precision of autocast if enabled."""
    return (weight @ x.flatten(1)).view(-1, *x.shape[1:])
