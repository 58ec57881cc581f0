"""Small convolutional parts, and the ways between fields, frames and series; free of batch and grid size."""

from __future__ import annotations

from torch import Tensor, nn


class ConvBlock(nn.Sequential):
    """Convolution, normalisation over channels and space of each sample by itself, GELU.

    Batch statistics would let issue times see each other, so there are none.

    Args:
        inputs: channels that enter.
        outputs: channels that leave.
        kernel: odd width of the convolution.
        stride: cells along each side that become one; a part of them counts as all.
    """

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> None:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2)
        super().__init__(convolution, nn.GroupNorm(1, outputs), nn.GELU())


def each_step(layer: nn.Module, x: Tensor) -> Tensor:
    """A layer on every step of x (time, n, ...) by itself: "time-distributed"."""
    found: Tensor = layer(x.flatten(0, 1))
    return found.reshape(*x.shape[:2], *found.shape[1:])


def stack_steps(x: Tensor) -> Tensor:
    """Steps (time, n, channels, height, width) as channels (n, time * channels, height, width)."""
    return x.transpose(0, 1).flatten(1, 2)


def split_steps(x: Tensor, steps: int) -> Tensor:
    """The other way: (n, time * channels, height, width) as (time, n, channels, height, width)."""
    return x.reshape(len(x), steps, -1, *x.shape[2:]).transpose(0, 1)


def to_series(x: Tensor) -> Tensor:
    """Fields (time, n, channels, height, width) as a series of each cell (time, n * cell, channels)."""
    return x.movedim(2, -1).flatten(1, 3)


def to_fields(x: Tensor, like: Tensor) -> Tensor:
    """The other way: (time, n * cell, channels) as fields of the batch and size of `like`."""
    n, (height, width) = like.shape[1], like.shape[-2:]
    return x.view(len(x), n, height, width, -1).movedim(-1, 2)
