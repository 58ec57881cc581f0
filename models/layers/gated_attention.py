"""Gated spatiotemporal attention by large-kernel convolutions (Tan et al. 2022, SimVPv2, arXiv:2211.12509)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class GatedAttention(nn.Module):
    """Gated attention by a large kernel over space.

    The large kernel is composed of a small depthwise convolution, a dilated one and a mix of channels (Guo et al.
    2022); half of the output is the attention, the sigmoid of the other half its gate.

    Args:
        channels: input and output channels; with stacked frames they include time.
        reach: width of the composed kernel.
        dilation: dilation of the second convolution.
    """

    def __init__(self, channels: int, *, reach: int = 21, dilation: int = 3) -> None:
        super().__init__()
        near = 2 * dilation - 1
        far = max(1, reach // dilation)
        far += 1 - far % 2
        self.project_in = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.GELU())
        self.near = nn.Conv2d(channels, channels, near, padding=near // 2, groups=channels)
        self.far = nn.Conv2d(channels, channels, far, padding=dilation * (far // 2), dilation=dilation, groups=channels)
        self.mix = nn.Conv2d(channels, 2 * channels, 1)
        self.project_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """From x (n, channels, height, width) to the same shape, with x added."""
        attention, gate = self.mix(self._far(self.near(self.project_in(x)))).chunk(2, dim=1)
        output: Tensor = self.project_out(torch.sigmoid(gate) * attention)
        return x + output

    def _far(self, x: Tensor) -> Tensor:
        """Apply `self.far` without the taps that would always lie outside a small field."""
        gap, side = self.far.dilation[0], self.far.kernel_size[0]
        reach = min(side // 2, (max(x.shape[2:]) - 1) // gap)
        cut = slice(side // 2 - reach, side // 2 + reach + 1)
        weight = self.far.weight[:, :, cut, cut]
        return functional.conv2d(x, weight, self.far.bias, padding=gap * reach, dilation=gap, groups=len(weight))


class GatedBlock(nn.Module):
    """Gated attention and a convolutional feed-forward net, both residual with a small, learnt scale.

    It uses GroupNorm instead of the paper's BatchNorm, which would mix issue times.

    Args:
        channels: input and output channels.
        reach: width of the attention's kernel.
        ratio: channels of the feed-forward net relative to `channels`.
        scale: initial scale of both parts.
    """

    def __init__(self, channels: int, *, reach: int = 21, ratio: int = 2, scale: float = 1e-2) -> None:
        super().__init__()
        wide = ratio * channels
        self.attention = nn.Sequential(nn.GroupNorm(1, channels), GatedAttention(channels, reach=reach))
        self.feed_forward = nn.Sequential(
            nn.GroupNorm(1, channels),
            nn.Conv2d(channels, wide, 1),
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide),
            nn.GELU(),
            nn.Conv2d(wide, channels, 1),
        )
        self.scales = nn.Parameter(torch.full((2, channels, 1, 1), scale))

    def forward(self, x: Tensor) -> Tensor:
        """From x (n, channels, height, width) to the same shape."""
        x = x + self.scales[0] * self.attention(x)
        output: Tensor = x + self.scales[1] * self.feed_forward(x)
        return output
