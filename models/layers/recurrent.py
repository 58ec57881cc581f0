"""Parts shared by recurrent layers: the stack, the norm between layers, and the convolution over [x, h]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from models.errors import ModelError

State = TypeVar("State")


class Stack(nn.Module, Generic[State]):
    """Stacked layers over a sequence.

    Args:
        cells: layers, each from x and an initial state or None to all hidden states and the final state.
        norms: norms of the inputs of the layers.
        checkpointing: whether training recomputes activations in pieces of about the square root of the length, which
            saves memory and costs one more forward pass.
    """

    def __init__(self, cells: Sequence[nn.Module], norms: Sequence[nn.Module], *, checkpointing: bool = False) -> None:
        super().__init__()
        self.cells, self.norms = nn.ModuleList(cells), nn.ModuleList(norms)
        self.checkpointing = checkpointing

    def forward(self, x: Tensor, states: list[State] | None = None) -> tuple[Tensor, list[State]]:
        """From x (time, n, inputs, ...) to the outputs of the top layer (time, n, hidden, ...) and all final states."""
        ends: list[State] = []
        for layer, (cell, norm) in enumerate(zip(self.cells, self.norms, strict=True)):
            x, end = self._run(cell, norm(x), None if states is None else states[layer])
            ends.append(end)
        return x, ends

    def _run(self, cell: nn.Module, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        if not (self.checkpointing and torch.is_grad_enabled()):
            return cast(tuple[Tensor, State], cell(x, state))
        outputs = []
        for piece in torch.split(x, math.isqrt(len(x) - 1) + 1):
            output, state = cast(Any, checkpoint(cell, piece, state, use_reentrant=False))
            # Keep the channels-last memory format of the pieces.
            outputs.append(output.movedim(2, -1))
        return torch.cat(outputs).movedim(-1, 2), cast(State, state)


class FieldNorm(nn.GroupNorm):
    """GroupNorm with one group for each field of a sequence, for any grid size (Wu and He 2018, arXiv:1803.08494)."""

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels)

    def forward(self, x: Tensor) -> Tensor:
        """From x (time, n, channels, height, width) to the same shape; a view expanded over the grid stays one."""
        expanded = x.stride(-1) == x.stride(-2) == 0
        fields = x[..., :1, :1] if expanded else x
        normal: Tensor = super().forward(torch.flatten(fields, 0, 1)).view(fields.shape)
        return normal.expand_as(x) if expanded else normal


def odd(kernel: int) -> int:
    """Return the width of a kernel, which must be odd.

    Raises:
        ModelError: the width is even.
    """
    if kernel % 2 == 0:
        raise ModelError(f"the kernel of a convolutional cell must be odd, found {kernel}")
    return kernel


def join(x: Tensor, hidden: Tensor | None) -> Tensor:
    """Return [x, h] along the channels, which come last; x alone at the first step."""
    return x if hidden is None else torch.cat([x, hidden], dim=-1)


def convolve(joined: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the convolution (n, height, width, outputs) of [x, h], or of x alone with its part of the weight.

    The grid keeps its size. Channels are last in memory, which avoids copies.
    """
    fields = joined.movedim(-1, 1)
    sums: Tensor = functional.conv2d(fields, weight[:, : fields.shape[1]], bias, padding=weight.shape[-1] // 2)
    return sums.movedim(1, -1).contiguous()
