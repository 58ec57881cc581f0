"""Gate arithmetic of LSTM and GRU cells. Channels are the last axis; the other axes are arbitrary."""

from __future__ import annotations

import torch
from torch import Tensor


def lstm_step(sums: Tensor, cell: Tensor | None, peepholes: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return (h, c) after one step of an LSTM, `c = f c + i g; h = o tanh(c)` (Gers et al. 2000).

    Peepholes are diagonal and on gates only, and the output gate reads the new cell (Gers et al. 2002; Graves 2013,
    arXiv:1308.0850).

    Args:
        sums: (..., 4 * hidden), pre-activations of input gate, forget gate, output gate and candidate, in this order.
        cell: (..., hidden), the previous cell; None for zero.
        peepholes: (3, hidden), peephole weights of the input, forget and output gates.
    """
    input_gate, forget_gate, output_gate, candidate = sums.chunk(4, dim=-1)
    if cell is None:
        new = torch.sigmoid(input_gate) * torch.tanh(candidate)
    else:
        if peepholes is not None:
            input_gate, forget_gate = input_gate + peepholes[0] * cell, forget_gate + peepholes[1] * cell
        new = torch.sigmoid(forget_gate) * cell + torch.sigmoid(input_gate) * torch.tanh(candidate)
    if peepholes is not None:
        output_gate = output_gate + peepholes[2] * new
    return torch.sigmoid(output_gate) * torch.tanh(new), new


def lstm_bias(hidden: int) -> Tensor:
    """Return the initial bias (4 * hidden,): 1 in the forget gate, which makes cells remember, else 0."""
    bias = torch.zeros(4, hidden)
    bias[1] = 1
    return bias.flatten()


def gru_step(update: Tensor, candidate: Tensor, hidden: Tensor | None) -> Tensor:
    """Return h after one step of a GRU, `h = z h + (1 - z) tanh(candidate)` (Cho et al. 2014, arXiv:1406.1078).

    Args:
        update: (..., hidden), the update gate z.
        candidate: same shape, pre-activation of the candidate.
        hidden: same shape, the previous state; None for zero.
    """
    fresh = (1 - update) * torch.tanh(candidate)
    return fresh if hidden is None else update * hidden + fresh
