"""Gated spatiotemporal attention by large-kernel convolutions (Tan et al. 2022, SimVPv2, arXiv:2211.12509)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class GatedAttention(nn.Module):
    """Each cell looks far around, channel by channel, and lets a gate decide what counts.

    A wide kernel is made of a small depthwise convolution, a dilated one and a mix of channels (Guo et al. 2022); half
    of what comes out is the attention, the sigmoid of the other half its gate.

    Args:
        channels: channels that enter and leave; over stacked frames they hold time too.
        reach: width of the kernel that is made.
        dilation: distance between the cells that the dilated part sees.
    """

    def __init__(self, channels: int, *, reach: int = 21, dilation: int = 3) -> None:
        super().__init__()
        near = 2 * dilation - 1
        far = max(1, reach // dilation)
        far += 1 - far % 2
        self.enter = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.GELU())
        self.near = nn.Conv2d(channels, channels, near, padding=near // 2, groups=channels)
        self.far = nn.Conv2d(channels, channels, far, padding=dilation * (far // 2), dilation=dilation, groups=channels)
        self.mix = nn.Conv2d(channels, 2 * channels, 1)
        self.leave = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """From x (n, channels, height, width) to as many, x itself added."""
        attention, gate = self.mix(self._look_far(self.near(self.enter(x)))).chunk(2, dim=1)
        found: Tensor = self.leave(torch.sigmoid(gate) * attention)
        return x + found

    def _look_far(self, x: Tensor) -> Tensor:
        """`self.far`, without the taps that lie beyond a small field whichever cell they start from."""
        gap, side = self.far.dilation[0], self.far.kernel_size[0]
        reach = min(side // 2, (max(x.shape[2:]) - 1) // gap)
        cut = slice(side // 2 - reach, side // 2 + reach + 1)
        weight = self.far.weight[:, :, cut, cut]
        return functional.conv2d(x, weight, self.far.bias, padding=gap * reach, dilation=gap, groups=len(weight))


class GatedBlock(nn.Module):
    """Gated attention, then a feed-forward net that sees the neighbours; both added with a small, learnt weight.

    BatchNorm of the source is GroupNorm here, so that issue times do not see each other.

    Args:
        channels: channels that enter and leave.
        reach: width of the attention's kernel.
        ratio: channels of the feed-forward net, in units of `channels`.
        scale: weights of both parts at the start.
    """

    def __init__(self, channels: int, *, reach: int = 21, ratio: int = 2, scale: float = 1e-2) -> None:
        super().__init__()
        wide = ratio * channels
        self.attend = nn.Sequential(nn.GroupNorm(1, channels), GatedAttention(channels, reach=reach))
        self.feed = nn.Sequential(
            nn.GroupNorm(1, channels),
            nn.Conv2d(channels, wide, 1),
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide),
            nn.GELU(),
            nn.Conv2d(wide, channels, 1),
        )
        self.scales = nn.Parameter(torch.full((2, channels, 1, 1), scale))

    def forward(self, x: Tensor) -> Tensor:
        """From x (n, channels, height, width) to as many."""
        x = x + self.scales[0] * self.attend(x)
        found: Tensor = x + self.scales[1] * self.feed(x)
        return found
