"""Attention from forecast steps to encoder steps, cell by cell."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models.layers.attention import KINDS, TemporalAttention
from tests.unit.models.gradients import gradient_of


@pytest.fixture(autouse=True)
def seeded() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("kind", KINDS)
def test_fields_are_attended_to_cell_by_cell_and_joined(kind: Any) -> None:
    attention = TemporalAttention(8, kind=kind)
    decoder, encoder = torch.randn(3, 2, 8, 4, 5), torch.randn(6, 2, 8, 4, 5)
    found, weights = attention(decoder, encoder), attention.weights(decoder, encoder)
    assert found.shape == decoder.shape
    cell = 0
    for n in range(2):
        for row in range(4):
            for column in range(5):
                at = (slice(None), n, slice(None), row, column)
                query, memory = decoder[at][None], encoder[at][None]
                expected = query + attention.attention(query, memory)
                torch.testing.assert_close(found[at], expected[0])
                torch.testing.assert_close(weights[cell], attention.attention.weights(query, memory)[0])
                cell += 1
    assert cell == len(weights)


@pytest.mark.parametrize("kind", KINDS)
def test_series_are_fields_of_one_cell(kind: Any) -> None:
    attention = TemporalAttention(8, kind=kind)
    decoder, encoder = torch.randn(3, 7, 8), torch.randn(6, 7, 8)
    found = attention(decoder, encoder)
    torch.testing.assert_close(attention(decoder[..., None, None], encoder[..., None, None])[..., 0, 0], found)
    torch.testing.assert_close(
        attention.weights(decoder[..., None, None], encoder[..., None, None]), attention.weights(decoder, encoder)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_cells_do_not_see_each_other(kind: Any) -> None:
    attention = TemporalAttention(8, kind=kind)
    decoder, encoder = torch.randn(3, 2, 8, 4, 4), torch.randn(5, 2, 8, 4, 4)
    before = attention(decoder, encoder)
    encoder[:, 1, :, 2, 3] += 1
    changed = (attention(decoder, encoder) != before).any(dim=2)
    assert changed[:, 1, 2, 3].all()
    assert changed.sum() == 3


@pytest.mark.parametrize("shape", [(2, 8, 3, 4), (7, 8)], ids=["fields", "series"])
def test_memory_layout_does_not_matter_and_every_parameter_learns(shape: Any) -> None:
    attention = TemporalAttention(8, kind="multi-head", heads=2)
    decoder, encoder = torch.randn(3, *shape), torch.randn(5, *shape)
    found = attention(decoder, encoder)
    last = [part.movedim(2, -1).contiguous().movedim(-1, 2) for part in (decoder, encoder)]
    torch.testing.assert_close(attention(*last), found)
    found.square().sum().backward()
    for name, parameter in attention.named_parameters():
        assert gradient_of(parameter).norm() > 1e-4, name


def test_runs_as_one_graph_for_any_batch_and_grid() -> None:
    attention = TemporalAttention(8, kind="multi-head")
    compiled = torch.compile(attention, backend="eager", fullgraph=True)
    for n, height, width in ((1, 3, 3), (4, 2, 5)):
        decoder, encoder = torch.randn(3, n, 8, height, width), torch.randn(5, n, 8, height, width)
        torch.testing.assert_close(compiled(decoder, encoder), attention(decoder, encoder))
