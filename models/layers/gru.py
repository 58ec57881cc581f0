"""GRU over sequences (Cho et al. 2014, arXiv:1406.1078)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.layers.gates import gru_step


class GRU(nn.Module):
    """Layers over a sequence, `h = z h + (1 - z) tanh(W x + U (r o h) + b)`, as Cho et al. wrote it.

    torch's `nn.GRU` differs: it applies the reset gate after the product, `r o (U h + b)`, which cuDNN can batch.

    Args:
        inputs: channels of x.
        hidden: channels of h.
        layers: number of layers.
    """

    def __init__(self, inputs: int, hidden: int, *, layers: int = 1) -> None:
        super().__init__()
        self.cells = nn.ModuleList(GRULayer(hidden if layer else inputs, hidden) for layer in range(layers))

    def forward(self, x: Tensor, states: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """From x (time, n, inputs) and initial states (None for zero) to all h of the top layer and each final h."""
        ends = []
        for layer, cell in enumerate(self.cells):
            x, end = cell(x, None if states is None else states[layer])
            ends.append(end)
        return x, ends


class GRULayer(nn.Module):
    """One layer of a `GRU`. Inputs of all steps are projected at once."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.project_in = nn.Linear(inputs, 3 * hidden)
        self.gates = nn.Linear(hidden, 2 * hidden, bias=False)
        self.candidate = nn.Linear(hidden, hidden, bias=False)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From x (time, n, inputs) and the initial state to all h and the final one."""
        hidden, outputs = state, []
        for step in self.project_in(x).to(self.project_in.bias.dtype).unbind(0):
            sums, candidate = step.split([2 * self.hidden, self.hidden], dim=-1)
            if hidden is not None:
                sums = sums + self.gates(hidden)
            reset, update = torch.sigmoid(sums).chunk(2, dim=-1)
            if hidden is not None:
                candidate = candidate + self.candidate(reset * hidden)
            hidden = gru_step(update, candidate, hidden)
            outputs.append(hidden)
        return torch.stack(outputs), outputs[-1]
