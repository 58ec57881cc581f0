"""Convolutional LSTM (Shi et al. 2015, arXiv:1506.04214)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

State = tuple[Tensor, Tensor]


class ConvLSTMCell(nn.Module):
    """One step, `c = f c + i g; h = o tanh(c)`, all four gates in one convolution over [x, h].

    Works on any batch and grid size. The forget gate starts at bias 1. Peepholes, one weight per channel,
    let the input and forget gates see the old cell and the output gate the new one.

    Args:
        inputs: channels of x.
        hidden: channels of h and c.
        kernel: odd width of the convolution.
        peepholes: whether the gates see the cell.
    """

    def __init__(self, inputs: int, hidden: int, *, kernel: int = 3, peepholes: bool = False) -> None:
        super().__init__()
        self.inputs, self.hidden, self.padding = inputs, hidden, kernel // 2
        self.gates = nn.Conv2d(inputs + hidden, 4 * hidden, kernel, padding=self.padding)
        bias = self.gates.bias
        if bias is not None:
            nn.init.zeros_(bias)
            nn.init.ones_(bias[hidden : 2 * hidden])
        self.peepholes = nn.Parameter(torch.zeros(3, hidden, 1, 1)) if peepholes else None

    def forward(self, x: Tensor, state: State | None = None) -> State:
        """From x (n, inputs, height, width) and the state before, None at the start, to (h, c)."""
        if state is None:
            # Nothing is remembered yet: convolve x alone.
            weight = self.gates.weight[:, : self.inputs]
            mixed = functional.conv2d(x, weight, self.gates.bias, padding=self.padding)
            enter, _, candidate, leave = mixed.chunk(4, dim=1)
            cell = torch.sigmoid(enter) * torch.tanh(candidate)
        else:
            hidden, before = state
            mixed = self.gates(torch.cat([x, hidden], dim=1))
            enter, forget, candidate, leave = mixed.chunk(4, dim=1)
            if self.peepholes is not None:
                enter = enter + self.peepholes[0] * before
                forget = forget + self.peepholes[1] * before
            cell = torch.sigmoid(forget) * before + torch.sigmoid(enter) * torch.tanh(candidate)
        if self.peepholes is not None:
            leave = leave + self.peepholes[2] * cell
        return torch.sigmoid(leave) * torch.tanh(cell), cell


class ConvLSTM(nn.Module):
    """A stack of cells over a sequence, each layer fed the normalised hidden states of the one below.

    Args:
        channels: channels of x and of every hidden state.
        layers: how many cells.
        kernel: odd width of the convolutions.
        peepholes: whether the gates see the cell.
    """

    def __init__(self, channels: int, *, layers: int = 1, kernel: int = 3, peepholes: bool = False) -> None:
        super().__init__()
        self.cells = nn.ModuleList(
            ConvLSTMCell(channels, channels, kernel=kernel, peepholes=peepholes) for _ in range(layers)
        )
        # GroupNorm knows nothing of the size of the grid.
        self.norms = nn.ModuleList(nn.GroupNorm(1, channels) for _ in range(layers))

    def forward(self, x: Tensor, states: list[State] | None = None) -> tuple[Tensor, list[State]]:
        """From x (time, n, channels, height, width) to the top layer's hidden states and all last states.

        Time leads, so that every step is one contiguous block.
        """
        ends: list[State] = []
        for layer, (cell, norm) in enumerate(zip(self.cells, self.norms, strict=True)):
            steps = norm(x.flatten(0, 1)).unflatten(0, x.shape[:2]).unbind(0)
            state = states[layer] if states is not None else None
            outputs = []
            for step in steps:
                state = cell(step, state)
                outputs.append(state[0])
            if state is not None:
                ends.append(state)
            # Stacked with channels last in memory, as each step already is.
            x = torch.stack([output.permute(0, 2, 3, 1) for output in outputs]).permute(0, 1, 4, 2, 3)
        return x, ends
