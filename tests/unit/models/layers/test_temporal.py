from __future__ import annotations

from typing import Any

import pytest
import torch

from models.layers.temporal import CausalConv, FramesToLeads


def by_loops(layer: Any, x: Any, kernel: Any, dilation: Any) -> Any:
    """The convolution from its definition; x (time, n, inputs)."""
    outputs = layer.mix.out_features
    weight = layer.mix.weight.detach().unflatten(1, (kernel, -1))
    found = layer.mix.bias.detach().expand(*x.shape[:2], outputs).clone()
    for step in range(len(x)):
        for tap in range(kernel):
            if step - tap * dilation >= 0:
                found[step] += x[step - tap * dilation] @ weight[:, tap].T
    return found


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (2, 4), (3, 5)])
def test_equals_loops_over_steps_and_taps(kernel: Any, dilation: Any) -> None:
    torch.manual_seed(0)
    layer = CausalConv(2, 3, kernel=kernel, dilation=dilation).double()
    x = torch.randn(6, 4, 2, dtype=torch.float64)
    torch.testing.assert_close(layer(x), by_loops(layer, x, kernel, dilation))


def test_fields_are_convolved_cell_by_cell() -> None:
    torch.manual_seed(0)
    layer = CausalConv(2, 3)
    x = torch.randn(5, 4, 2, 3, 2)
    found = layer(x)
    assert found.shape == (5, 4, 3, 3, 2)
    torch.testing.assert_close(found[..., 2, 1], layer(x[..., 2, 1]))


def test_later_steps_do_not_change_earlier_ones() -> None:
    torch.manual_seed(0)
    layer, x = CausalConv(2, 2, dilation=2), torch.randn(6, 1, 2)
    later = x.clone()
    later[4:] += 1
    torch.testing.assert_close(layer(later)[:4], layer(x)[:4])
    assert not torch.allclose(layer(later)[4:], layer(x)[4:])


def test_every_lead_is_the_last_frame_until_weights_say_otherwise() -> None:
    layer, x = FramesToLeads(3, 2), torch.arange(6.0).view(3, 2)
    torch.testing.assert_close(layer(x), torch.tensor([[4.0, 5.0], [4.0, 5.0]]))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.0, 2.0]]))
    # The first frame; half the first and twice the last.
    torch.testing.assert_close(layer(x), torch.tensor([[0.0, 1.0], [8.0, 10.5]]))
