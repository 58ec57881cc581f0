"""Bidirectional LSTM (Schuster and Paliwal 1997, doi 10.1109/78.650093)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.layers.lstm import LSTM

State = tuple[Tensor, Tensor]


class BidirectionalLSTM(nn.Module):
    """A bidirectional LSTM whose outputs and states are projected to those of a unidirectional one.

    A unidirectional `LSTM` with the same number of layers can continue from its states. Hidden states and cells have
    separate projections.

    Args:
        inputs: channels of x.
        hidden: width of each direction, and of the projected outputs and states.
        layers: number of layers.
    """

    def __init__(self, inputs: int, hidden: int, *, layers: int = 1) -> None:
        super().__init__()
        self.lstm = LSTM(inputs, hidden, layers=layers, bidirectional=True)
        self.join = nn.ModuleList(nn.Linear(2 * hidden, hidden) for _ in range(layers))
        self.join_cell = nn.ModuleList(nn.Linear(2 * hidden, hidden) for _ in range(layers))

    def forward(self, x: Tensor) -> tuple[Tensor, list[State]]:
        """From x (time, n, inputs) to outputs (time, n, hidden) and the final (h, c) of each layer, (n, hidden).

        The backward direction has its final state at the first step.
        """
        outputs, ends = self.lstm(x)
        pairs = zip(ends[::2], ends[1::2], self.join, self.join_cell, strict=True)
        joined: list[State] = [
            (join(torch.cat([fore[0], back[0]], dim=-1)), join_cell(torch.cat([fore[1], back[1]], dim=-1)))
            for fore, back, join, join_cell in pairs
        ]
        return self.join[-1](outputs), joined
