"""Attention between sets of tokens: dot-product, additive or multi-head; self-, cross- and temporal attention."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from models.errors import ModelError
from models.layers.scaled import scaled_attention

Kind = Literal["dot", "additive", "multi-head"]
KINDS: tuple[Kind, ...] = ("dot", "additive", "multi-head")
Temporal = Literal["none", "dot", "multi-head", "additive"]
# Sequences, and queries of a sequence, whose weights are in memory at a time.
_PIECE = 1024
TEMPORAL: tuple[Temporal, ...] = ("none", "dot", "multi-head", "additive")


class Attention(nn.Module):
    """Attention of query tokens to memory tokens.

    `attention(x, x)` is self-attention, `attention(x, y)` cross-attention. Outputs are invariant to the order of memory
    tokens and follow the order of queries. The content of masked tokens has no effect, even NaN; a query whose memory
    is fully masked gets zeros.

    The kinds are `softmax(Q K' / sqrt(d)) V` with one head (`dot`) or several (`multi-head`; Vaswani et al. 2017,
    arXiv:1706.03762), which never materialise the weights, and `softmax(v' tanh(Wq q + Wk k)) V` (`additive`; Bahdanau
    et al. 2015, arXiv:1409.0473), which materialises b * q * k * width values. Keys have no bias, because it would
    shift all scores of a query equally.

    Args:
        width: width d of tokens.
        kind: kind of scores.
        heads: number of heads of the multi-head kind; must divide the width.

    Raises:
        ModelError: the kind is unknown, or the number of heads does not divide the width.
    """

    def __init__(self, width: int, *, kind: Kind, heads: int = 4) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ModelError(f"attention: kind must be one of {list(KINDS)}, found {kind!r}")
        self.heads = heads if kind == "multi-head" else 1
        if self.heads < 1 or width % self.heads:
            raise ModelError(f"attention: the number of heads, {heads}, must divide the width, {width}")
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.join = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False) if kind == "additive" else None

    def forward(self, query: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the attention output of each query.

        Args:
            query: (b, q, d).
            memory: (b, k, d).
            mask: (b, k), bool, True for visible tokens; None if all are.

        Returns:
            (b, q, d).

        Raises:
            ModelError: the mask has another type or shape.
        """
        memory, seen, some = _apply_mask(memory, mask)
        value = self._split(self.value(memory))
        if self.score is None:
            output = scaled_attention(self._split(self.query(query)), self._split(self.key(memory)), value, seen)
        else:
            weights = self._weights(query, memory, seen)
            output = weights.to(value.dtype) @ value
        joined: Tensor = self.join(output.transpose(1, 2).flatten(2))
        return joined if some is None else joined.masked_fill(~some, 0)

    def weights(self, query: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the attention weights (b, heads, q, k) of `forward`, for the same arguments.

        They are not negative and sum to 1 over k, or are all 0 where the memory is fully masked.
        """
        memory, seen, some = _apply_mask(memory, mask)
        weights = self._weights(query, memory, seen)
        return weights if some is None else weights.masked_fill(~some.unsqueeze(1), 0)

    def mean_weights(self, query: Tensor, memory: Tensor) -> Tensor:
        """Return the mean of `weights` over sequences and heads, (q, k), in little memory."""
        total = query.new_zeros(query.shape[1], memory.shape[1])
        for queries, memories in zip(torch.split(query, _PIECE), torch.split(memory, _PIECE), strict=True):
            parts = [self.weights(part, memories).mean(1).sum(0) for part in torch.split(queries, _PIECE, dim=1)]
            total += torch.cat(parts)
        return total / len(query)

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
        # In bfloat16 a softmax over many keys would not sum to 1.
        return scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))

    def _split(self, tokens: Tensor) -> Tensor:
        """Return tokens (b, k, d) split by head, (b, heads, k, d / heads)."""
        return tokens.reshape(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


class CrossAttention(nn.Module):
    """Residual cross-attention, `x + attention(norm(x), norm(y))`, with a separate LayerNorm for each side.

    Arguments as for `Attention`.
    """

    def __init__(self, width: int, *, kind: Kind, heads: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.memory_norm = nn.LayerNorm(width)
        self.attention = Attention(width, kind=kind, heads=heads)

    def forward(self, tokens: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """From tokens (b, q, d) and memory (b, k, d), visible where `mask` (b, k) is True, to (b, q, d)."""
        output: Tensor = self.attention(self.norm(tokens), self.memory_norm(memory), mask)
        return tokens + output


class FrameAttention(CrossAttention):
    """Cross-attention from the leads of a cell to its frames."""

    def frame_weights(self, leads: Tensor, frames: Tensor) -> Tensor:
        """Return the mean weights (lead, frame), for the arguments of `forward`."""
        return self.attention.mean_weights(self.norm(leads), self.memory_norm(frames))


class SelfAttention(nn.Module):
    """Residual self-attention, `x + attention(norm(x), norm(x))`, with one LayerNorm.

    Arguments as for `Attention`.
    """

    def __init__(self, width: int, *, kind: Kind, heads: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, kind=kind, heads=heads)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """From tokens (b, k, d), visible where `mask` (b, k) is True, to the same shape."""
        normed = self.norm(tokens)
        output: Tensor = self.attention(normed, normed, mask)
        return tokens + output


class TemporalAttention(nn.Module):
    """Attention of each forecast step to all encoder steps, separately for each cell or series.

    The context is added to the decoder output (Luong et al. 2015, arXiv:1508.04025), so that the last encoder state
    need not hold the whole past.

    Args:
        channels: channels of the states.
        kind: kind of scores.
        heads: number of heads of the multi-head kind; must divide the channels.

    Raises:
        ModelError: as for `Attention`.
    """

    def __init__(self, channels: int, *, kind: Kind, heads: int = 4) -> None:
        super().__init__()
        self.attention = Attention(channels, kind=kind, heads=heads)

    def forward(self, decoder: Tensor, encoder: Tensor) -> Tensor:
        """Return decoder states plus their context, in the shape of `decoder`.

        Args:
            decoder: fields (lead, n, channels, height, width) or series (lead, m, channels).
            encoder: the same shape with frames instead of leads.
        """
        output: Tensor = self.attention(_by_cell(decoder), _by_cell(encoder)).transpose(0, 1)
        if decoder.dim() == 3:
            return decoder + output
        leads, n, _, height, width = decoder.shape
        return decoder + output.reshape(leads, n, height, width, -1).movedim(-1, 2)

    def weights(self, decoder: Tensor, encoder: Tensor) -> Tensor:
        """Return the weights (cell, heads, lead, frame), with cells in the order of n, height and width."""
        weights: Tensor = self.attention.weights(_by_cell(decoder), _by_cell(encoder))
        return weights

    def frame_weights(self, decoder: Tensor, encoder: Tensor) -> Tensor:
        """Return the mean of `weights` over cells and heads, (lead, frame)."""
        return self.attention.mean_weights(_by_cell(decoder), _by_cell(encoder))


def _by_cell(states: Tensor) -> Tensor:
    """Return fields or series, time first, as one sequence per cell (n * cells, time, channels)."""
    if states.dim() == 5:
        states = states.movedim(2, -1).flatten(1, 3)
    return states.transpose(0, 1).contiguous()


def _apply_mask(memory: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return memory with zeros for masked tokens, visible keys (b, 1, 1, k), and whether any is visible (b, 1, 1).

    Where none is, all keys count as visible, since a softmax over nothing is NaN on some devices; callers put zeros
    there.
    """
    if mask is None:
        return memory, None, None
    if mask.dtype != torch.bool or mask.shape != memory.shape[:2]:
        raise ModelError(
            f"attention: mask must be bool of shape {tuple(memory.shape[:2])}, found {mask.dtype} {tuple(mask.shape)}"
        )
    some = mask.any(-1, keepdim=True)
    return memory.masked_fill(~mask.unsqueeze(-1), 0), (mask | ~some)[:, None, None], some.unsqueeze(-1)
