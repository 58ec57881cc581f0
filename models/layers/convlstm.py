"""Convolutional LSTM (Shi et al. 2015, arXiv:1506.04214)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from models.layers.convlstm_sequence import FastSequence, plain_sequence
from models.layers.gates import lstm_bias
from models.layers.recurrent import FieldNorm, Stack, odd

State = tuple[Tensor, Tensor]


class ConvLSTM(Stack[State]):
    """Layers over a sequence of fields, `c = f c + i g; h = o tanh(c)`, all gates in one convolution over [x, h].

    Maps x (time, n, inputs, height, width), which may be an expanded view, and initial states (None for zero) to h of
    the top layer (time, n, hidden, height, width) and the final (h, c) of each layer, (n, hidden, height, width). Works
    for any batch and grid. The memory format is channels-last throughout.

    Args:
        inputs: channels of x.
        hidden: channels of h and c.
        layers: number of layers.
        kernel: odd width of the convolutions.
        peepholes: whether gates read the cell, with one weight per channel.
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
        peepholes: bool = False,
        norm: bool = True,
        checkpointing: bool = False,
    ) -> None:
        widths = [inputs, *[hidden] * (layers - 1)]
        super().__init__(
            [ConvLSTMLayer(width, hidden, kernel=odd(kernel), peepholes=peepholes) for width in widths],
            [FieldNorm(width) if norm else nn.Identity() for width in widths],
            checkpointing=checkpointing,
        )


class ConvLSTMLayer(nn.Module):
    """One layer of a `ConvLSTM`. The forget gate starts at bias 1, peepholes at 0."""

    def __init__(self, inputs: int, hidden: int, *, kernel: int, peepholes: bool) -> None:
        super().__init__()
        self.gates = nn.Conv2d(inputs + hidden, 4 * hidden, kernel, bias=False)
        self.bias = nn.Parameter(lstm_bias(hidden))
        self.peepholes = nn.Parameter(torch.zeros(3, hidden, 1, 1)) if peepholes else None

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """From x (time, n, inputs, height, width) and the initial state to all h and the final (h, c)."""
        before, cell = (None, None) if state is None else (part.movedim(1, -1) for part in state)
        peepholes = None if self.peepholes is None else self.peepholes.flatten(1)
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else self.gates.weight.dtype
        arguments = (x.movedim(2, -1), before, cell, self.gates.weight, self.bias, peepholes, dtype)
        with torch.autocast(device, enabled=False):
            if torch.compiler.is_compiling():
                outputs, hidden, cell = plain_sequence(*arguments)
            else:
                outputs, hidden, cell = cast(Any, FastSequence).apply(*arguments, torch.is_grad_enabled())
        return outputs.movedim(-1, 2), (hidden.movedim(-1, 1), cell.movedim(-1, 1))
