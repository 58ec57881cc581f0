import torch
from torch import nn

from models.layers.blocks import ConvBlock, each_step, split_steps, stack_steps, to_fields, to_series


def test_a_block_halves_odd_sizes_upwards_and_keeps_samples_apart() -> None:
    torch.manual_seed(0)
    block, x = ConvBlock(2, 4, stride=2), torch.randn(3, 2, 5, 1)
    assert block(x).shape == (3, 4, 3, 1)
    torch.testing.assert_close(block(x)[1:2], block(x[1:2]))


def test_each_step_is_seen_by_itself() -> None:
    torch.manual_seed(0)
    layer, x = nn.Conv2d(2, 3, 1), torch.randn(4, 5, 2, 3, 3)
    torch.testing.assert_close(each_step(layer, x)[2], layer(x[2]))


def test_steps_become_channels_in_order_and_come_back() -> None:
    x = torch.arange(2 * 3 * 2).view(2, 3, 2, 1, 1)
    stacked = stack_steps(x)
    # Sample 1: both channels of the first step, then those of the second.
    assert stacked[1].flatten().tolist() == [2, 3, 8, 9]
    assert torch.equal(split_steps(stacked, 2), x)


def test_cells_become_series_and_come_back() -> None:
    x = torch.randn(2, 3, 4, 5, 6)
    series = to_series(x)
    assert torch.equal(series[:, 1 * 30 + 2 * 6 + 3], x[:, 1, :, 2, 3])
    assert torch.equal(to_fields(series, x), x)
