from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from models.catalogue import build
from models.errors import ModelError
from models.task import Task
from models.zoo.attention_cnn import AttentionCnnConfig, AttentionCore, DividedAttention


@pytest.mark.parametrize("attention", ["dot", "additive", "multi-head"])
def test_without_neighbours_in_the_encoder_permuted_cells_permute_the_leads(
    attention: Any, sizes_of: Any, perturbed: Callable[..., Any]
) -> None:
    core = perturbed(AttentionCore(sizes_of(), AttentionCnnConfig(hidden=8, kernel=1, attention=attention)))
    past, ahead, order = torch.randn(4, 2, 8, 3, 4), torch.randn(3, 2, 8, 1, 1), torch.randperm(12)

    def moved(x: Any) -> Any:
        return x.flatten(3)[..., order].unflatten(3, (3, 4))

    torch.testing.assert_close(core(moved(past), ahead), moved(core(past, ahead)), rtol=1e-4, atol=1e-4)


def test_far_cells_inform_each_other_and_samples_do_not(perturbed: Callable[..., Any]) -> None:
    layer, x = perturbed(DividedAttention(8, kind="dot")), torch.randn(2, 2, 8, 5, 5)
    changed = x.clone()
    changed[0, 0, :, 0, 0] += torch.randn(8)
    moved = (layer(changed) - layer(x)).abs().amax(2) > 1e-6
    assert moved[0, 0].all()
    # The other frame hears of it too, as frames of one cell attend to each other.
    assert moved[1, 0].all()
    assert not moved[:, 1].any()


def test_a_large_field_attends_to_its_means(perturbed: Callable[..., Any]) -> None:
    layer, x = perturbed(DividedAttention(4, kind="additive")), torch.randn(1, 1, 4, 32, 2)
    # Two cells of one mean may trade what they hold: no third cell notices.
    traded = x.clone()
    traded[..., 0, 0], traded[..., 1, 0] = x[..., 1, 0], x[..., 0, 0]
    found, other = layer(x), layer(traded)
    torch.testing.assert_close(other[..., 2:, :], found[..., 2:, :])
    assert not torch.allclose(other[..., :2, 0], found[..., :2, 0])


def test_each_lead_asks_for_itself(sizes_of: Any, perturbed: Callable[..., Any]) -> None:
    core = perturbed(AttentionCore(sizes_of(), AttentionCnnConfig(hidden=8)))
    past, ahead = torch.randn(4, 1, 8, 3, 3), torch.randn(3, 1, 8, 1, 1)
    other = ahead.clone()
    other[2] += 1
    torch.testing.assert_close(core(past, other)[:2], core(past, ahead)[:2])
    assert not torch.allclose(core(past, other)[2], core(past, ahead)[2])


def test_unknown_attention_is_refused(task_of: Callable[..., Task]) -> None:
    with pytest.raises(ModelError, match=r"attention.*'cosine'"):
        build("attention-cnn", task_of(), attention="cosine")
