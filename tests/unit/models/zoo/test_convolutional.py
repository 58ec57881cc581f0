from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from models.layers.blocks import each_step
from models.zoo.convolutional import AlignedCore, RcnnConfig, RcnnCore, SpaceTimeCore


def quiet(core: Any) -> Any:
    """Convolutions along time that say nothing."""
    for layer in core.time:
        nn.init.zeros_(layer.mix.weight)
        nn.init.zeros_(layer.mix.bias)
    return core


def test_residual_blocks_with_zero_output_pass_the_last_frame_on_and_plain_ones_do_not(sizes_of: Any) -> None:
    past, ahead = torch.randn(4, 2, 4, 3, 5), torch.randn(3, 2, 4, 1, 1)
    residual = quiet(SpaceTimeCore(sizes_of(), 4, layers=2, kernel=3, residual=True))
    plain = quiet(SpaceTimeCore(sizes_of(), 4, layers=2, kernel=3, residual=False))
    torch.testing.assert_close(residual(past, ahead), past[-1:] + ahead)
    torch.testing.assert_close(plain(past, ahead), ahead.expand(-1, -1, -1, 3, 5))


def test_only_residual_blocks_are_normalised(sizes_of: Any) -> None:
    for residual in (False, True):
        core = SpaceTimeCore(sizes_of(), 4, layers=2, kernel=3, residual=residual)
        assert sum(isinstance(part, nn.GroupNorm) for part in core.modules()) == 2 * residual


def test_a_plain_block_is_space_then_time(sizes_of: Any, perturbed: Callable[..., Any]) -> None:
    core = perturbed(SpaceTimeCore(sizes_of(), 4, layers=1, kernel=3, residual=False))
    past, ahead = torch.randn(4, 2, 4, 3, 5), torch.zeros(3, 2, 4, 1, 1)
    over_space = functional.gelu(torch.stack([core.space[0](frame) for frame in past]))
    expected = core.leads(functional.gelu(core.time[0](over_space)))
    torch.testing.assert_close(core(past, ahead), expected)


def test_frames_before_the_transformer_has_learnt_are_convolved_where_they_are(sizes_of: Any) -> None:
    core = AlignedCore(sizes_of(), 4, layers=2, kernel=3)
    past, ahead = torch.randn(4, 2, 4, 6, 5), torch.randn(3, 2, 4, 1, 1)
    expected = core.leads(each_step(core.encoder, past)) + ahead
    torch.testing.assert_close(core(past, ahead), expected, rtol=1e-4, atol=1e-4)


def test_frames_are_transformed_as_predicted(sizes_of: Any) -> None:
    core = AlignedCore(sizes_of(), 4, layers=1, kernel=3)
    with torch.no_grad():
        core.transformer.affine.bias.copy_(torch.tensor([-1.0, 0.0, 0.0, 0.0, -1.0, 0.0]))
    past, ahead = torch.randn(4, 2, 4, 6, 5), torch.randn(3, 2, 4, 1, 1)
    turned = core.leads(each_step(core.encoder, past.flip(-1, -2))) + ahead
    torch.testing.assert_close(core(past, ahead), turned, rtol=1e-4, atol=1e-4)


def test_every_frame_and_its_steps_reach_every_lead_of_the_recurrent_cnn(
    sizes_of: Any, perturbed: Callable[..., Any]
) -> None:
    core = perturbed(RcnnCore(sizes_of(), RcnnConfig(hidden=4, width=8, layers=1, steps=2)))
    past, ahead = torch.randn(4, 1, 4, 1, 15), torch.randn(3, 1, 4, 1, 1)
    for layer in core.layers:
        layer.norms = nn.ModuleList(nn.Identity() for _ in layer.norms)  # means over the field would spread at once
    changed = past.clone()
    changed[0, ..., 7] += 1
    moved = (core(changed, ahead) - core(past, ahead)).abs().sum((1, 2, 3)) > 1e-7
    for lead in range(3):
        # One cell by the feed-forward convolution, one more with each look at its own output.
        assert moved[lead].nonzero().flatten().tolist() == list(range(7 - 3, 7 + 4))
