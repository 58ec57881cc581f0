"""What recurrent layers share: the stack, the norm between layers, and the convolution over [x, h]."""

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
    """Layers over a sequence, each fed the hidden states of the one below.

    Args:
        cells: layers, each from x and its state before, or None, to all its hidden states and its last state.
        norms: what is done to the input of each layer.
        checkpointing: whether training recomputes the insides of the sequence in pieces of about the square root of
            its length, which saves memory and costs one more forward pass.
    """

    def __init__(self, cells: Sequence[nn.Module], norms: Sequence[nn.Module], *, checkpointing: bool = False) -> None:
        super().__init__()
        self.cells, self.norms = nn.ModuleList(cells), nn.ModuleList(norms)
        self.checkpointing = checkpointing

    def forward(self, x: Tensor, states: list[State] | None = None) -> tuple[Tensor, list[State]]:
        """From x (time, n, inputs, ...) to the top layer's hidden states (time, n, hidden, ...) and all last states."""
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
            # Joined with channels last in memory, as each piece already is.
            outputs.append(output.movedim(2, -1))
        return torch.cat(outputs).movedim(-1, 2), cast(State, state)


class FieldNorm(nn.GroupNorm):
    """Each field (channels, height, width) of a sequence brought to mean 0 and deviation 1, then scaled by channel.

    One group, and so no need to know the size of the grid (Wu and He 2018, arXiv:1803.08494).
    """

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape (time, n, channels, height, width). What is alike in all cells remains an expanded view."""
        alike = x.stride(-1) == x.stride(-2) == 0
        fields = x[..., :1, :1] if alike else x
        normal: Tensor = super().forward(torch.flatten(fields, 0, 1)).view(fields.shape)
        return normal.expand_as(x) if alike else normal


def odd(kernel: int) -> int:
    """The width of a kernel that has a middle.

    Raises:
        ModelError: it has none.
    """
    if kernel % 2 == 0:
        raise ModelError(f"the kernel of a convolutional cell must be odd, found {kernel}")
    return kernel


def join(x: Tensor, hidden: Tensor | None) -> Tensor:
    """[x, h] along the channels, which come last; x alone where nothing is remembered yet."""
    return x if hidden is None else torch.cat([x, hidden], dim=-1)


def convolve(joined: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Fields (n, height, width, outputs) of [x, h], or of x alone, by the share of the weight that is theirs.

    The grid keeps its size. The channel is last in memory, so that nothing is reordered.
    """
    fields = joined.movedim(-1, 1)
    sums: Tensor = functional.conv2d(fields, weight[:, : fields.shape[1]], bias, padding=weight.shape[-1] // 2)
    return sums.movedim(1, -1).contiguous()
