"""LSTM over sequences, with optional peepholes, unidirectional or bidirectional."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from models.layers.gates import lstm_bias, lstm_step

State = tuple[Tensor, Tensor]


class LSTM(nn.Module):
    """Layers over a sequence, `c = f c + i g; h = o tanh(c)`; the forget gate starts at bias 1.

    Without peepholes it is torch's `nn.LSTM`. With them, the input and forget gates read the old cell and the output
    gate reads the new one, with one weight per channel (Gers et al. 2002; Graves 2013).

    Args:
        inputs: channels of x.
        hidden: channels of h and c.
        layers: number of layers.
        peepholes: whether gates read the cell.
        bidirectional: whether a second LSTM reads each sequence backwards; outputs are (time, n, 2 * hidden).
    """

    def __init__(
        self, inputs: int, hidden: int, *, layers: int = 1, peepholes: bool = False, bidirectional: bool = False
    ) -> None:
        super().__init__()
        self.ways = 2 if bidirectional else 1
        self.torch_lstm, self.cells = None, nn.ModuleList()
        if peepholes:
            for layer in range(layers):
                width = self.ways * hidden if layer else inputs
                self.cells.extend(PeepholeLSTM(width, hidden, reverse=way == 1) for way in range(self.ways))
        else:
            self.torch_lstm = nn.LSTM(inputs, hidden, layers, bidirectional=bidirectional)
            for name, parameter in self.torch_lstm.named_parameters():
                # torch adds two biases; only the first one is used.
                if name.startswith("bias"):
                    parameter.data.zero_()
                if name.startswith("bias_ih"):
                    parameter.data[hidden : 2 * hidden] = 1

    def forward(self, x: Tensor, states: list[State] | None = None) -> tuple[Tensor, list[State]]:
        """From x (time, n, inputs) and initial states (None for zero) to all h of the top layer and the final (h, c).

        There is one state (n, hidden) per layer, or a forward and a backward one in bidirectional layers.
        """
        if self.torch_lstm is not None:
            before = None if states is None else tuple(torch.stack(part) for part in zip(*states, strict=True))
            x, ends = self.torch_lstm(x, before)
            return x, list(zip(*(part.unbind(0) for part in ends), strict=True))
        ends = []
        for first in range(0, len(self.cells), self.ways):
            outputs = []
            for number in range(first, first + self.ways):
                output, end = self.cells[number](x, None if states is None else states[number])
                outputs.append(output)
                ends.append(end)
            x = torch.cat(outputs, dim=-1)
        return x, ends


class PeepholeLSTM(nn.Module):
    """One direction of one layer, with peepholes. Inputs of all steps are projected at once."""

    def __init__(self, inputs: int, hidden: int, *, reverse: bool = False) -> None:
        super().__init__()
        self.project_in = nn.Linear(inputs, 4 * hidden)
        self.project_in.bias.data = lstm_bias(hidden)
        self.recurrent = nn.Linear(hidden, 4 * hidden, bias=False)
        self.peepholes = nn.Parameter(torch.zeros(3, hidden))
        self.reverse = reverse

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """From x (time, n, inputs) and the initial state to all h, in the order of x, and the final (h, c)."""
        hidden, cell = (None, None) if state is None else state
        outputs: list[Tensor] = []
        steps = self.project_in(x).to(self.project_in.bias.dtype).unbind(0)
        for step in reversed(steps) if self.reverse else steps:
            sums = step if hidden is None else step + self.recurrent(hidden)
            hidden, cell = lstm_step(sums, cell, self.peepholes)
            outputs.append(hidden)
        return torch.stack(outputs[::-1] if self.reverse else outputs), (outputs[-1], cast(Tensor, cell))
