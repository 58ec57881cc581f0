"""A convolutional block, and conversions between fields, frames and series."""

from __future__ import annotations

from torch import Tensor, nn


class ConvBlock(nn.Sequential):
    """Convolution, normalisation over channels and space, GELU.

    Each sample is normalised by itself; batch statistics would mix issue times.

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: odd width of the convolution.
        stride: downsampling factor; incomplete cells at the edge are kept.
    """

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> None:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2)
        super().__init__(convolution, nn.GroupNorm(1, outputs), nn.GELU())


def each_step(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply a layer to every step of x (time, n, ...) separately ("time-distributed")."""
    output: Tensor = layer(x.flatten(0, 1))
    return output.reshape(*x.shape[:2], *output.shape[1:])


def stack_steps(x: Tensor) -> Tensor:
    """Return steps (time, n, channels, height, width) as channels (n, time * channels, height, width)."""
    return x.transpose(0, 1).flatten(1, 2)


def split_steps(x: Tensor, steps: int) -> Tensor:
    """Return channels (n, time * channels, height, width) as steps (time, n, channels, height, width)."""
    return x.reshape(len(x), steps, -1, *x.shape[2:]).transpose(0, 1)


def to_series(x: Tensor) -> Tensor:
    """Return fields (time, n, channels, height, width) as the series of each cell (time, n * cell, channels)."""
    return x.movedim(2, -1).flatten(1, 3)


def to_fields(x: Tensor, like: Tensor) -> Tensor:
    """Return series (time, n * cell, channels) as fields with the batch and grid of `like`."""
    n, (height, width) = like.shape[1], like.shape[-2:]
    return x.view(len(x), n, height, width, -1).movedim(-1, 2)
