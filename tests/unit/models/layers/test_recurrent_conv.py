from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from models.layers.recurrent_conv import RecurrentConv
from tests.unit.models.gradients import gradient_of


def normed(x: Any, norm: Any) -> Any:
    """Mean 0 and variance 1 over all channels and cells of a sample, then scaled and moved by channel."""
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    variance = (x - mean).square().mean(dim=(1, 2, 3), keepdim=True)
    scaled = (x - mean) / torch.sqrt(variance + norm.eps)
    return scaled * norm.weight[:, None, None] + norm.bias[:, None, None]


@pytest.mark.parametrize("steps", [1, 3])
def test_equals_the_equation_step_by_step(steps: Any) -> None:
    torch.manual_seed(0)
    layer = RecurrentConv(2, 4, kernel=3, steps=steps).double()
    u = torch.randn(2, 2, 5, 6, dtype=torch.float64)
    fed = functional.conv2d(u, layer.feed_forward.weight, layer.feed_forward.bias, padding=1)
    x = normed(fed, layer.norms[0]).clamp(min=0)
    for step in range(1, steps + 1):
        x = normed(fed + functional.conv2d(x, layer.recurrent.weight, padding=1), layer.norms[step]).clamp(min=0)
    torch.testing.assert_close(layer(u), x)


def test_more_steps_have_no_more_weights_but_those_of_their_norms() -> None:
    def count(steps: Any) -> Any:
        return sum(parameter.numel() for parameter in RecurrentConv(2, 4, steps=steps).parameters())

    assert count(4) - count(3) == 2 * 4


def test_every_parameter_receives_a_gradient() -> None:
    torch.manual_seed(0)
    layer = RecurrentConv(2, 4)
    (layer(torch.randn(2, 2, 5, 5)) * torch.randn(2, 4, 5, 5)).sum().backward()
    assert all(gradient_of(parameter).abs().sum() > 0 for parameter in layer.parameters())
