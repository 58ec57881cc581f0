"""Attention between two sets of tokens: dot-product, additive or multi-head; to oneself, to others, back in time."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from models.errors import ModelError
from models.layers.scaled import scaled_attention

Kind = Literal["dot", "additive", "multi-head"]
KINDS: tuple[Kind, ...] = ("dot", "additive", "multi-head")
Temporal = Literal["none", "dot", "multi-head", "additive"]
TEMPORAL: tuple[Temporal, ...] = ("none", "dot", "multi-head", "additive")


class Attention(nn.Module):
    """Each query token gets a mean of the memory's tokens, weighted by how well they match it.

    `attend(x, x)` is self-attention, `attend(x, y)` cross-attention. The order of the memory's tokens does not matter,
    that of the queries only orders the answer. What a masked token holds does not matter, be it NaN; a query that may
    see nothing gets zeros.

    The kinds are `softmax(Q K' / sqrt(d)) V` with one head (`dot`) or several (`multi-head`; Vaswani et al. 2017,
    arXiv:1706.03762), which hold no weights, and `softmax(v' tanh(Wq q + Wk k)) V` (`additive`; Bahdanau et al. 2015,
    arXiv:1409.0473), which holds b * q * k * width numbers. Every parameter learns: keys have no bias, since it would
    move all scores of a query alike.

    Args:
        width: width d of tokens.
        kind: how scores are made.
        heads: heads of the multi-head kind; they divide the width.

    Raises:
        ModelError: unknown kind, or heads that do not divide the width.
    """

    def __init__(self, width: int, *, kind: Kind, heads: int = 4) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ModelError(f"attention: kind {kind!r} is none of {list(KINDS)}")
        self.heads = heads if kind == "multi-head" else 1
        if self.heads < 1 or width % self.heads:
            raise ModelError(f"attention: {heads} heads do not divide a width of {width}")
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.join = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False) if kind == "additive" else None

    def forward(self, query: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """What each query finds.

        Args:
            query: (b, q, d).
            memory: (b, k, d).
            mask: (b, k) of bool, True where a token may be seen; None for all.

        Returns:
            (b, q, d).

        Raises:
            ModelError: the mask is not of bool or of another shape.
        """
        memory, seen, some = _hide(memory, mask)
        value = self._split(self.value(memory))
        if self.score is None:
            found = scaled_attention(self._split(self.query(query)), self._split(self.key(memory)), value, seen)
        else:
            weights = self._weights(query, memory, seen)
            found = weights.to(value.dtype) @ value
        joined: Tensor = self.join(found.transpose(1, 2).flatten(2))
        return joined if some is None else joined.masked_fill(~some, 0)

    def weights(self, query: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """The weights (b, heads, q, k) that `forward` takes its means with; the same arguments and errors.

        They are not negative and sum to 1 over k; all are 0 where a query may see nothing.
        """
        memory, seen, some = _hide(memory, mask)
        found = self._weights(query, memory, seen)
        return found if some is None else found.masked_fill(~some.unsqueeze(1), 0)

    def _weights(self, query: Tensor, memory: Tensor, seen: Tensor | None) -> Tensor:
        scores: Tensor
        query, key = self.query(query), self.key(memory)
        if self.score is None:
            query, key = self._split(query), self._split(key)
            scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
        else:
            scores = self.score(torch.tanh(query.unsqueeze(2) + key.unsqueeze(1))).permute(0, 3, 1, 2)
        if seen is not None:
            scores = scores.masked_fill(~seen, -torch.inf)
        # In bf16 a softmax over many keys would not sum to 1.
        return scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))

    def _split(self, tokens: Tensor) -> Tensor:
        """Tokens (b, k, d) by head, (b, heads, k, d / heads)."""
        return tokens.reshape(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


class CrossAttention(nn.Module):
    """Tokens plus what they find in others: `x + attend(norm(x), norm(y))`, each side with a LayerNorm of its own.

    The arguments of `Attention`.
    """

    def __init__(self, width: int, *, kind: Kind, heads: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.other = nn.LayerNorm(width)
        self.attention = Attention(width, kind=kind, heads=heads)

    def forward(self, tokens: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """From tokens (b, q, d) and memory (b, k, d), of which `mask` (b, k) may be seen, to (b, q, d)."""
        found: Tensor = self.attention(self.norm(tokens), self.other(memory), mask)
        return tokens + found


class SelfAttention(nn.Module):
    """Tokens plus what they find in each other: `x + attend(norm(x), norm(x))`, with one LayerNorm.

    The arguments of `Attention`.
    """

    def __init__(self, width: int, *, kind: Kind, heads: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, kind=kind, heads=heads)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Tokens (b, k, d), of which `mask` (b, k) may be seen by the others, to as many."""
        normed = self.norm(tokens)
        found: Tensor = self.attention(normed, normed, mask)
        return tokens + found


class TemporalAttention(nn.Module):
    """Each forecast step of each cell or series looks back at all encoder steps of that cell or series.

    The context joins the decoder's output (Luong et al. 2015, arXiv:1508.04025), so that the encoder's last state need
    not hold all of the past. Cells do not see each other.

    Args:
        channels: channels of the states.
        kind: how scores are made.
        heads: heads of the multi-head kind; they divide the channels.

    Raises:
        ModelError: as of `Attention`.
    """

    def __init__(self, channels: int, *, kind: Kind, heads: int = 4) -> None:
        super().__init__()
        self.attention = Attention(channels, kind=kind, heads=heads)

    def forward(self, decoder: Tensor, encoder: Tensor) -> Tensor:
        """Decoder states plus what the encoder states hold for them.

        Args:
            decoder: fields (lead, n, channels, height, width) or series (lead, m, channels).
            encoder: the same with as many frames as there are.

        Returns:
            The shape of `decoder`.
        """
        found: Tensor = self.attention(_by_cell(decoder), _by_cell(encoder)).transpose(0, 1)
        if decoder.dim() == 3:
            return decoder + found
        leads, n, _, height, width = decoder.shape
        return decoder + found.reshape(leads, n, height, width, -1).movedim(-1, 2)

    def weights(self, decoder: Tensor, encoder: Tensor) -> Tensor:
        """The weights (cell, heads, lead, frame), cells in order of n, height and width."""
        weights: Tensor = self.attention.weights(_by_cell(decoder), _by_cell(encoder))
        return weights


def _by_cell(states: Tensor) -> Tensor:
    """Fields or series, time first, as one sequence per cell (n * cells, time, channels)."""
    if states.dim() == 5:
        states = states.movedim(2, -1).flatten(1, 3)
    return states.transpose(0, 1).contiguous()


def _hide(memory: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Memory with zeros for what is masked, which keys may be seen (b, 1, 1, k), and where any may (b, 1, 1).

    Where none may, all are seen, as a softmax over nothing is NaN on some devices; the caller puts zeros there.
    """
    if mask is None:
        return memory, None, None
    if mask.dtype != torch.bool or mask.shape != memory.shape[:2]:
        raise ModelError(
            f"attention: mask must be bool of shape {tuple(memory.shape[:2])}, found {mask.dtype} {tuple(mask.shape)}"
        )
    some = mask.any(-1, keepdim=True)
    return memory.masked_fill(~mask.unsqueeze(-1), 0), (mask | ~some)[:, None, None], some.unsqueeze(-1)
