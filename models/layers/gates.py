"""What the gates of recurrent cells do with their sums. The channel is the last axis, whatever the others mean."""

from __future__ import annotations

import torch
from torch import Tensor


def lstm_step(sums: Tensor, cell: Tensor | None, peepholes: Tensor | None) -> tuple[Tensor, Tensor]:
    """One step of an LSTM, `c = f c + i g; h = o tanh(c)`, to (h, c) (Gers et al. 2000).

    Peepholes are diagonal and on gates only, and the output gate sees the new cell (Gers et al. 2002; Graves 2013,
    arXiv:1308.0850).

    Args:
        sums: (..., 4 * hidden), what enters input, forget and output gate and candidate, in this order.
        cell: (..., hidden), the cell before; None at the start, where it is zero.
        peepholes: (3, hidden), weights of the cell in input, forget and output gate.
    """
    enter, forget, leave, candidate = sums.chunk(4, dim=-1)
    if cell is None:
        new = torch.sigmoid(enter) * torch.tanh(candidate)
    else:
        if peepholes is not None:
            enter, forget = enter + peepholes[0] * cell, forget + peepholes[1] * cell
        new = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(candidate)
    if peepholes is not None:
        leave = leave + peepholes[2] * new
    return torch.sigmoid(leave) * torch.tanh(new), new


def lstm_bias(hidden: int) -> Tensor:
    """Bias (4 * hidden,) of the sums: 1 in the forget gate, so that a new cell remembers (Gers et al. 2000), else 0."""
    bias = torch.zeros(4, hidden)
    bias[1] = 1
    return bias.flatten()


def gru_step(update: Tensor, candidate: Tensor, hidden: Tensor | None) -> Tensor:
    """One step of a GRU, `h = z h + (1 - z) tanh(candidate)` (Cho et al. 2014, arXiv:1406.1078).

    Args:
        update: (..., hidden), the gate z itself.
        candidate: the same shape, what enters the candidate.
        hidden: the same shape, the state before; None at the start, where it is zero.
    """
    fresh = (1 - update) * torch.tanh(candidate)
    return fresh if hidden is None else update * hidden + fresh
