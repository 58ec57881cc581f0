from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from models.layers.gated_attention import GatedAttention, GatedBlock
from tests.unit.models.gradients import gradient_of


def mixed(layer: Any, x: Any) -> Any:
    """A 1 x 1 convolution, cell by cell."""
    found = torch.zeros(len(x), layer.out_channels, *x.shape[2:], dtype=x.dtype)
    for row in range(x.shape[2]):
        for column in range(x.shape[3]):
            found[:, :, row, column] = x[:, :, row, column] @ layer.weight[:, :, 0, 0].T + layer.bias
    return found


def depthwise(layer: Any, x: Any) -> Any:
    """Each channel by itself, cell by cell and tap by tap; beyond the edge there is nothing."""
    height, width = x.shape[2:]
    side, gap = layer.kernel_size[0], layer.dilation[0]
    found = layer.bias[:, None, None].expand_as(x).clone()
    for row in range(height):
        for column in range(width):
            for down in range(side):
                for right in range(side):
                    above, left = row + (down - side // 2) * gap, column + (right - side // 2) * gap
                    if 0 <= above < height and 0 <= left < width:
                        found[:, :, row, column] += layer.weight[:, 0, down, right] * x[:, :, above, left]
    return found


@pytest.mark.parametrize("size", [(5, 6), (2, 3), (1, 1)])
def test_equals_loops_over_cells_and_taps(size: Any) -> None:
    torch.manual_seed(0)
    layer = GatedAttention(2, reach=9, dilation=2).double()
    x = torch.randn(2, 2, *size, dtype=torch.float64)
    with torch.no_grad():
        entered = functional.gelu(mixed(layer.project_in[0], x))
        attention, gate = mixed(layer.mix, depthwise(layer.far, depthwise(layer.near, entered))).split(2, dim=1)
        expected = x + mixed(layer.project_out, attention / (1 + torch.exp(-gate)))
        torch.testing.assert_close(layer(x), expected)


def test_kernels_are_those_of_the_paper_and_see_eleven_cells_to_every_side() -> None:
    torch.manual_seed(0)
    layer = GatedAttention(1)
    assert (layer.near.kernel_size, layer.far.kernel_size, layer.far.dilation) == ((5, 5), (7, 7), (3, 3))
    x = torch.zeros(1, 1, 1, 31)
    spot = x.clone()
    spot[..., 15] = 10
    changed = (layer(spot) != layer(x)).flatten().nonzero().flatten()
    # Two cells by the small kernel, three taps of three cells by the dilated one.
    assert (int(changed.min()), int(changed.max())) == (15 - 11, 15 + 11)


def test_a_block_starts_near_the_identity_and_every_part_learns() -> None:
    torch.manual_seed(0)
    block, x = GatedBlock(4, reach=9), torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(block(x), x, rtol=0, atol=0.1)
    block(x).square().sum().backward()
    assert all(gradient_of(parameter).abs().sum() > 0 for parameter in block.parameters())


def test_samples_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    block, x = GatedBlock(4), torch.randn(3, 4, 6, 5)
    torch.testing.assert_close(block(x)[1:2], block(x[1:2]))
