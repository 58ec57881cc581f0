"""Attention between tokens against loops written from the equations, and what must hold for any sizes."""

from __future__ import annotations

from math import atanh, exp, log, tanh
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import Tensor, nn

from models.errors import ModelError
from models.layers import scaled
from models.layers.attention import KINDS, Attention, CrossAttention, SelfAttention
from tests.unit.models.gradients import gradient_of
from tests.unit.models.layers.largest import Largest

MASK = torch.tensor([[True, False, True, True, False], [True] * 5, [False] * 5])


@pytest.fixture(autouse=True)
def seeded() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def loop(attention: Any, weights: Any, query: Any, memory: Any, mask: Any) -> Any:
    """The equations, one query, key and head at a time, in float64."""

    def linear(name: Any, vector: Any) -> Any:
        product = weights[f"{name}.weight"] @ vector
        return product + weights[f"{name}.bias"] if f"{name}.bias" in weights else product

    width = query.shape[-1]
    size = width // attention.heads
    rows, maps = [], []
    for b in range(len(query)):
        tokens = [memory[b, j] for j in range(memory.shape[1]) if mask is None or mask[b, j]]
        for one in query[b]:
            if not tokens:
                rows.append(torch.zeros(width, dtype=torch.float64))
                continue
            found = []
            for head in range(attention.heads):
                part = slice(head * size, (head + 1) * size)
                scores = []
                for token in tokens:
                    q, k = linear("query", one)[part], linear("key", token)[part]
                    if attention.score is None:
                        scores.append(sum(q[c] * k[c] for c in range(size)) / size**0.5)
                    else:
                        scores.append(sum(weights["score.weight"][0, c] * (q[c] + k[c]).tanh() for c in range(size)))
                powers = [score.exp() for score in scores]
                found.append(
                    sum(p / sum(powers) * linear("value", t)[part] for p, t in zip(powers, tokens, strict=True))
                )
                maps.append([(p / sum(powers)).item() for p in powers])
            rows.append(linear("join", torch.cat(found)))
    return torch.stack(rows).view(query.shape), maps


def relative(one: Tensor, other: Tensor) -> float:
    away: float = ((one.double() - other).norm() / other.norm()).item()
    return away


@pytest.mark.parametrize("mask", [None, MASK], ids=["all seen", "masked"])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients_equal_the_equations(kind: Any, mask: Any) -> None:
    attention = Attention(8, kind=kind)
    query, memory = torch.randn(3, 4, 8, requires_grad=True), torch.randn(3, 5, 8, requires_grad=True)
    probe = torch.randn(3, 4, 8)
    exact = {name: value.detach().double().requires_grad_() for name, value in attention.named_parameters()}
    inputs = [part.detach().double().requires_grad_() for part in (query, memory)]
    expected, _ = loop(attention, exact, inputs[0], inputs[1], mask)
    found = attention(query, memory, mask)
    assert relative(found, expected) < 1e-5
    (found * probe).sum().backward()
    (expected * probe).sum().backward()
    for name, parameter in attention.named_parameters():
        assert relative(gradient_of(parameter), gradient_of(exact[name])) < 1e-5, name
    for single, double in zip((query, memory), inputs, strict=True):
        assert relative(gradient_of(single), gradient_of(double)) < 1e-5


def by_hand(kind: Any) -> Any:
    """Width 1, every matrix 1 and no biases."""
    attention = Attention(1, kind=kind, heads=1)
    for name, parameter in attention.named_parameters():
        nn.init.constant_(parameter, float("weight" in name))
    return attention


@pytest.mark.parametrize("kind", ["dot", "multi-head"])
def test_dot_products_worked_by_hand(kind: Any) -> None:
    # Scores 0 and ln 3: weights 1/4 and 3/4.
    query, memory = torch.ones(1, 1, 1), torch.tensor([[[0.0], [log(3)]]])
    torch.testing.assert_close(by_hand(kind).weights(query, memory), torch.tensor([[[[0.25, 0.75]]]]))
    torch.testing.assert_close(by_hand(kind)(query, memory), torch.tensor([[[0.75 * log(3)]]]))


def test_additive_scores_worked_by_hand() -> None:
    attention, far = by_hand("additive"), atanh(log(3) / 2)
    nn.init.constant_(attention.score.weight, 2)
    # Scores 2 tanh(0) = 0 and 2 tanh(far) = ln 3: weights 1/4 and 3/4.
    memory = torch.tensor([[[0.0], [far]]])
    torch.testing.assert_close(attention.weights(torch.zeros(1, 1, 1), memory), torch.tensor([[[[0.25, 0.75]]]]))
    # With a query of 1 they are 2 tanh(1) and 2 tanh(1 + far): not the sum of a score of each.
    first, second = exp(2 * tanh(1)), exp(2 * tanh(1 + far))
    weights = torch.tensor([[[[first, second]]]]) / (first + second)
    torch.testing.assert_close(attention.weights(torch.ones(1, 1, 1), memory), weights)


def test_dot_scores_are_divided_by_the_root_of_the_width_of_a_head() -> None:
    attention = Attention(4, kind="multi-head", heads=1)
    nn.init.eye_(attention.query.weight)
    nn.init.eye_(attention.key.weight)
    nn.init.zeros_(attention.query.bias)
    # Scores 4 ln 3 / sqrt(4) / 2 = ln 3 and 0.
    query, memory = torch.ones(1, 1, 4), torch.stack([torch.full((4,), log(3) / 2), torch.zeros(4)])[None]
    torch.testing.assert_close(attention.weights(query, memory), torch.tensor([[[[0.75, 0.25]]]]))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_those_of_the_equations_and_sum_to_one(kind: Any) -> None:
    attention = Attention(8, kind=kind)
    query, memory = torch.randn(3, 4, 8), torch.randn(3, 5, 8)
    weights = attention.weights(query, memory, MASK)
    assert weights.shape == (3, attention.heads, 4, 5)
    exact = {name: value.detach().double() for name, value in attention.named_parameters()}
    _, maps = loop(attention, exact, query.double(), memory.double(), MASK)
    expected = iter(maps)
    for b in (0, 1):
        for one in range(4):
            for head in range(attention.heads):
                seen = weights[b, head, one, MASK[b]].double()
                torch.testing.assert_close(seen, torch.tensor(next(expected)).double(), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(weights.sum(-1)[:2], torch.ones(2, attention.heads, 4))
    assert (weights.transpose(1, 3)[~MASK] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_masked_does_not_matter_and_nothing_to_see_gives_zeros(kind: Any) -> None:
    attention = Attention(8, kind=kind)
    query, memory = torch.randn(3, 4, 8, requires_grad=True), torch.randn(3, 5, 8)
    memory[~MASK] = torch.nan
    memory.requires_grad_()
    found = attention(query, memory, MASK)
    torch.testing.assert_close(found[:1], attention(query[:1], memory[:1, MASK[0]]))
    assert (found[2] == 0).all()
    found.square().sum().backward()
    assert (gradient_of(query)[2] == 0).all()
    assert (gradient_of(memory)[~MASK] == 0).all()
    for parameter in (query, memory, *attention.parameters()):
        assert gradient_of(parameter).isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(data=st.data(), batch=st.integers(1, 4), queries=st.integers(1, 5), keys=st.integers(1, 9))
def test_any_sizes_and_any_order_of_tokens(kind: Any, data: Any, batch: Any, queries: Any, keys: Any) -> None:
    attention = Attention(8, kind=kind, heads=2)
    query, memory = torch.randn(batch, queries, 8), torch.randn(batch, keys, 8)
    mask = torch.rand(batch, keys) < 0.7
    rows = torch.tensor(data.draw(st.permutations(range(queries))))
    order = torch.tensor(data.draw(st.permutations(range(keys))))
    found = attention(query, memory, mask)
    assert found.shape == query.shape
    moved = attention(query[:, rows], memory[:, order], mask[:, order])
    torch.testing.assert_close(moved, found[:, rows])
    weights = attention.weights(query, memory, mask)[..., rows, :][..., order]
    torch.testing.assert_close(attention.weights(query[:, rows], memory[:, order], mask[:, order]), weights)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_receives_a_gradient(kind: Any) -> None:
    attention = Attention(8, kind=kind)
    attention(torch.randn(2, 3, 8), torch.randn(2, 5, 8)).square().sum().backward()
    for name, parameter in attention.named_parameters():
        # A bias on the keys, for one, would only get what rounding leaves.
        assert gradient_of(parameter).norm() > 1e-4, name


@pytest.mark.parametrize("kind", ["dot", "multi-head"])
@pytest.mark.parametrize("masked", [False, True])
def test_dot_products_do_not_materialise_weights(kind: Any, masked: Any) -> None:
    attention, tokens = Attention(16, kind=kind, heads=1), torch.randn(1, 512, 16)
    mask = torch.rand(1, 512) < 0.5 if masked else None
    with Largest() as largest:
        attention(tokens, tokens, mask).sum().backward()
    assert largest.numbers < 512 * 512 / 4
    with Largest() as largest:
        attention.weights(tokens, tokens, mask)
    assert largest.numbers == 512 * 512


@pytest.mark.parametrize("masked", [False, True])
def test_batches_beyond_the_limit_of_cuda_are_cut(monkeypatch: pytest.MonkeyPatch, masked: Any) -> None:
    attention, tokens = Attention(8, kind="multi-head"), torch.randn(7, 5, 8)
    mask = torch.rand(7, 5) < 0.6 if masked else None
    whole = attention(tokens, tokens, mask)
    monkeypatch.setattr(scaled, "LARGEST_BATCH", 3)
    torch.testing.assert_close(attention(tokens, tokens, mask), whole)


def normed(tokens: Any) -> Any:
    return (tokens - tokens.mean(-1, keepdim=True)) / (tokens.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()


def test_blocks_add_what_normed_tokens_find() -> None:
    one, other = 3 * torch.randn(3, 5, 8) + 1, 2 * torch.randn(3, 5, 8) - 1
    block = SelfAttention(8, kind="multi-head", heads=2)
    torch.testing.assert_close(block(one, MASK), one + block.attention(normed(one), normed(one), MASK))
    torch.testing.assert_close(block(one, MASK)[2], one[2])
    cross = CrossAttention(8, kind="additive")
    torch.testing.assert_close(cross(one, other, MASK), one + cross.attention(normed(one), normed(other), MASK))


def test_cross_attention_looks_at_the_other_tokens_alone() -> None:
    block = CrossAttention(8, kind="dot")
    one, other = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    before = block(one, other)
    assert before.shape == one.shape
    moved = one.clone()
    moved[:, 0, 0] += 1
    changed = (block(moved, other) != before).any(-1)
    assert changed.tolist() == [[True, False, False]] * 2
    assert (block(one, other + torch.eye(5, 8)) != before).any(-1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_runs_in_bf16_in_inference_mode_and_as_one_graph(kind: Any) -> None:
    attention = Attention(8, kind=kind)
    query, memory = torch.randn(3, 4, 8), torch.randn(3, 5, 8)
    found = attention(query, memory, MASK)
    with torch.inference_mode():
        torch.testing.assert_close(attention(query, memory, MASK), found)
        with torch.autocast("cpu", torch.bfloat16):
            half = attention(query, memory, MASK)
            weights = attention.weights(query, memory, MASK)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), found, rtol=0.05, atol=0.03)
    torch.testing.assert_close(weights[:2].sum(-1), torch.ones(2, attention.heads, 4))
    compiled = torch.compile(attention, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(query, memory, MASK), found)


@pytest.mark.parametrize("kind", KINDS)
def test_survives_saving_and_a_change_of_type(kind: Any) -> None:
    attention, other = Attention(8, kind=kind), Attention(8, kind=kind)
    query, memory = torch.randn(3, 4, 8), torch.randn(3, 5, 8)
    other.load_state_dict(load(save(attention.state_dict())))
    found = attention(query, memory)
    torch.testing.assert_close(other(query, memory), found, rtol=0, atol=0)
    double = other.double()(query.double(), memory.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), found)


def test_invalid_arguments_are_refused() -> None:
    with pytest.raises(ModelError, match=r"kind must be one of .*, found 'general'"):
        Attention(8, kind="general")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="the number of heads, 3, must divide the width, 8"):
        Attention(8, kind="multi-head", heads=3)
    with pytest.raises(ModelError, match="the number of heads, 0"):
        Attention(8, kind="multi-head", heads=0)
    attention, tokens = Attention(8, kind="dot", heads=3), torch.zeros(2, 5, 8)
    for mask in (torch.ones(2, 5), torch.ones(5, dtype=torch.bool)):
        with pytest.raises(ModelError, match=r"mask must be bool of shape \(2, 5\)"):
            attention(tokens, tokens, mask)
