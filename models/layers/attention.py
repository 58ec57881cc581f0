"""Attention over time, from each forecast step to all encoder states, and over space."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Temporal = Literal["none", "dot", "multi-head", "additive"]
TEMPORAL: tuple[Temporal, ...] = ("none", "dot", "multi-head", "additive")


class TemporalAttention(nn.Module):
    """Each forecast step of each cell looks back at all encoder steps of that cell.

    `softmax(Q K' / sqrt(d)) V` with one or several heads (Vaswani et al. 2017), or the additive scores
    `v' tanh(q + k)` of Bahdanau et al. (2015); the context joins the output, as in Luong et al. (2015).

    Args:
        channels: channels of the states.
        kind: how scores are made.
        heads: heads of the multi-head kind; they divide the channels.
    """

    def __init__(self, channels: int, *, kind: Temporal, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads if kind == "multi-head" else 1
        self.query = nn.Linear(channels, channels)
        # A bias on the keys would shift all scores alike and learn nothing.
        self.key = nn.Linear(channels, channels, bias=False)
        self.value = nn.Linear(channels, channels)
        self.join = nn.Linear(channels, channels)
        self.score = nn.Linear(channels, 1, bias=False) if kind == "additive" else None

    def forward(self, decoder: Tensor, encoder: Tensor) -> Tensor:
        """Decoder states (lead, n, channels, height, width) plus what the encoder states hold for them."""
        leads, n, _, height, width = decoder.shape
        query = self.query(_tokens(decoder))
        key, value = self.key(_tokens(encoder)), self.value(_tokens(encoder))
        if self.score is not None:
            scores = self.score(torch.tanh(query[:, :, None] + key[:, None])).squeeze(-1)
            found = scores.softmax(-1) @ value
        else:
            split = [part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value)]
            found = functional.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)
        context: Tensor = self.join(found).view(n, height, width, leads, decoder.shape[2])
        return decoder + context.permute(3, 0, 4, 1, 2)


class SpatialMemory(nn.Module):
    """Self-attention memory (Lin et al. 2020, AAAI): far cells inform each other through a slow memory.

    The gate starts at zero, so that at first the block passes its input on unchanged.

    Args:
        channels: channels of the states.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels, 1)
        self.from_hidden = nn.Conv2d(channels, 2 * channels, 1)
        self.from_memory = nn.Conv2d(channels, 2 * channels, 1)
        self.gates = nn.Conv2d(3 * channels, 3 * channels, 1)
        self.gate = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, states: Tensor) -> Tensor:
        """States (time, n, channels, height, width), each joined by what the memory holds."""
        memory = torch.zeros_like(states[0])
        outputs = []
        for hidden in states.unbind(0):
            query = self.query(hidden)
            near = self._attend(query, self.from_hidden(hidden))
            past = self._attend(query, self.from_memory(memory))
            enter, candidate, leave = self.gates(torch.cat([near, past, hidden], dim=1)).chunk(3, dim=1)
            enter = torch.sigmoid(enter)
            memory = (1 - enter) * memory + enter * torch.tanh(candidate)
            outputs.append(hidden + self.gate * torch.sigmoid(leave) * memory)
        return torch.stack(outputs)

    @staticmethod
    def _attend(query: Tensor, pair: Tensor) -> Tensor:
        key, value = (part.flatten(2).transpose(1, 2) for part in pair.chunk(2, dim=1))
        found = functional.scaled_dot_product_attention(query.flatten(2).transpose(1, 2), key, value)
        return found.transpose(1, 2).reshape(query.shape)


def _tokens(states: Tensor) -> Tensor:
    """States (time, n, channels, height, width) as one sequence per cell, (n * cells, time, channels)."""
    return states.permute(1, 3, 4, 0, 2).flatten(0, 2)
