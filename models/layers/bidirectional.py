"""Recurrence both ways along a sequence (Schuster and Paliwal 1997, doi 10.1109/78.650093)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.layers.lstm import LSTM

State = tuple[Tensor, Tensor]


class BidirectionalLSTM(nn.Module):
    """An LSTM that reads a sequence both ways, joined to the width and the states of one that reads it one way.

    So an `LSTM` of as many layers may go on from its states. The cells are joined as the hidden states are, by weights
    of their own.

    Args:
        inputs: channels of x.
        hidden: width of either direction, and of what they are joined to.
        layers: how many.
    """

    def __init__(self, inputs: int, hidden: int, *, layers: int = 1) -> None:
        super().__init__()
        self.both = LSTM(inputs, hidden, layers=layers, bidirectional=True)
        self.join = nn.ModuleList(nn.Linear(2 * hidden, hidden) for _ in range(layers))
        self.join_cell = nn.ModuleList(nn.Linear(2 * hidden, hidden) for _ in range(layers))

    def forward(self, x: Tensor) -> tuple[Tensor, list[State]]:
        """From x (time, n, inputs) to outputs (time, n, hidden) and the last (h, c) of each layer, (n, hidden).

        "Last" is the end for what reads forwards, and the beginning for what reads backwards.
        """
        found, ends = self.both(x)
        pairs = zip(ends[::2], ends[1::2], self.join, self.join_cell, strict=True)
        joined: list[State] = [
            (join(torch.cat([there[0], back[0]], dim=-1)), join_cell(torch.cat([there[1], back[1]], dim=-1)))
            for there, back, join, join_cell in pairs
        ]
        return self.join[-1](found), joined
