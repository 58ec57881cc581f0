"""Convolutional GRU (Ballas et al. 2016, arXiv:1511.06432)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.layers.gates import gru_step
from models.layers.recurrent import FieldNorm, Stack, convolve, join, odd


class ConvGRU(Stack[Tensor]):
    """Layers over a sequence of fields, `h = z h + (1 - z) tanh(Wx * x + Wh * (r o h) + b)` (Cho et al. 2014).

    The interface is that of `ConvLSTM` without peepholes, and the state of a layer is h, (n, hidden, height, width).

    Args:
        inputs: channels of x.
        hidden: channels of h.
        layers: number of layers.
        kernel: odd width of the convolutions.
        norm: whether the input of each layer is normalised.
        checkpointing: whether training recomputes activations to save memory.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        *,
        layers: int = 1,
        kernel: int = 3,
        norm: bool = True,
        checkpointing: bool = False,
    ) -> None:
        widths = [inputs, *[hidden] * (layers - 1)]
        super().__init__(
            [ConvGRULayer(width, hidden, kernel=odd(kernel)) for width in widths],
            [FieldNorm(width) if norm else nn.Identity() for width in widths],
            checkpointing=checkpointing,
        )


class ConvGRULayer(nn.Module):
    """One layer of a `ConvGRU`: one convolution over [x, h] for both gates, another for the candidate."""

    def __init__(self, inputs: int, hidden: int, *, kernel: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(inputs + hidden, 2 * hidden, kernel)
        self.candidate = nn.Conv2d(inputs + hidden, hidden, kernel)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From x (time, n, inputs, height, width) and the initial state to all h and the final one."""
        hidden, outputs = None if state is None else state.movedim(1, -1), []
        for step in x.movedim(2, -1).unbind(0):
            gates = torch.sigmoid(convolve(join(step, hidden), self.gates.weight, self.gates.bias))
            reset, update = gates.chunk(2, dim=-1)
            kept = None if hidden is None else reset * hidden
            candidate = convolve(join(step, kept), self.candidate.weight, self.candidate.bias)
            hidden = gru_step(update, candidate, hidden)
            outputs.append(hidden)
        return torch.stack(outputs).movedim(-1, 2), outputs[-1].movedim(-1, 1)
