from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from models.layers.gated_attention import GatedBlock
from models.zoo.simvp import SimVpConfig, SimVpCore

SMALL = {"hidden": 4, "spatial": 4, "width": 8, "layers": 1, "reach": 9}


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (8, 6)])
def test_fields_come_back_in_the_size_they_came_in_whatever_the_stride(stride: Any, size: Any, sizes_of: Any) -> None:
    core = SimVpCore(sizes_of(frames=2, leads=5), SimVpConfig(**SMALL, stride=stride))
    assert core(torch.randn(2, 3, 4, *size), torch.randn(5, 3, 4, 1, 1)).shape == (5, 3, 4, *size)


def test_the_translator_works_on_all_frames_at_half_the_size(sizes_of: Any) -> None:
    core = SimVpCore(sizes_of(frames=4), SimVpConfig(**(SMALL | {"layers": 3})))
    seen = []
    core.translator.register_forward_hook(lambda _, given, found: seen.append((given[0].shape, found.shape)))
    core(torch.randn(4, 2, 4, 5, 8), torch.randn(3, 2, 4, 1, 1))
    assert seen == [((2, 4 * 4, 3, 4), (2, 3 * 4, 3, 4))]
    assert sum(isinstance(part, GatedBlock) for part in core.translator) == 3


def test_every_frame_reaches_every_lead_through_the_translator(sizes_of: Any, perturbed: Callable[..., Any]) -> None:
    core = perturbed(SimVpCore(sizes_of(), SimVpConfig(**SMALL)))
    torch.nn.init.zeros_(core.leads.weight)  # not by way of the detail that the decoder sees
    past, ahead = torch.randn(4, 1, 4, 4, 4), torch.randn(3, 1, 4, 1, 1)
    for frame in range(4):
        changed = past.clone()
        changed[frame] += torch.randn(4, 4, 4)
        assert ((core(changed, ahead) - core(past, ahead)).abs().amax((1, 2, 3, 4)) > 1e-6).all()


def test_the_decoder_sees_detail_of_the_last_frame_and_what_is_known_ahead(sizes_of: Any) -> None:
    core = SimVpCore(sizes_of(), SimVpConfig(**SMALL))
    for parameter in core.refine.parameters():
        torch.nn.init.zeros_(parameter)  # the translator says nothing
    past, ahead = torch.randn(4, 2, 4, 5, 5), torch.randn(3, 2, 4, 1, 1)
    expected = torch.stack([core.project_out(core.fine(past[-1]) + lead) for lead in ahead])
    torch.testing.assert_close(core(past, ahead), expected)
