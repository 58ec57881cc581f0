"""Self-attention memory over space (SA-ConvLSTM; Lin et al. 2020, AAAI, doi 10.1609/aaai.v34i07.6819)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.errors import ModelError
from models.layers.scaled import scaled_attention


class SpatialMemory(nn.Module):
    """Self-attention over space with a recurrent memory, added to the states; initially the identity.

    The query Q of the hidden state H attends to H and to the memory M, and a gate updates the memory::

        Zh = softmax(Q Kh' / sqrt(d)) Vh,  Zm = softmax(Q Km' / sqrt(d)) Vm,  Z = Wz [Zh, Zm]
        i, g, o = sigmoid, tanh, sigmoid of W [Z, H]
        M = (1 - i) M + i g,  out = H + gate o M

    The paper applies these equations within a recurrence, whose next hidden state is `out = o M`. Here convolutions are
    1 x 1, scores are scaled, there is a residual, and `forward` processes a finished sequence of states. `gate`, one
    value per channel, starts at zero. While it is zero only it gets a gradient; afterwards every parameter does, from
    the second step on (the first has no memory). Keys have no bias, because it would shift all scores equally.

    Queries, keys and values have `channels` channels, and attention weights are never materialised. A field of more
    than `most` cells is averaged to at most `most` tokens, where the memory is kept, and the output is interpolated
    back bilinearly. Without this, permuting cells permutes the output and changes nothing else.

    Args:
        channels: channels of the states.
        most: maximum number of tokens, such as 16 x 16.

    Raises:
        ModelError: `most` is below 1.
    """

    def __init__(self, channels: int, *, most: int = 256) -> None:
        super().__init__()
        if most < 1:
            raise ModelError(f"spatial memory: most must be at least 1, found {most}")
        self.most = most
        self.query = nn.Linear(channels, channels)
        self.near_key = nn.Linear(channels, channels, bias=False)
        self.near_value = nn.Linear(channels, channels)
        self.past_key = nn.Linear(channels, channels, bias=False)
        self.past_value = nn.Linear(channels, channels)
        self.fuse = nn.Linear(2 * channels, channels)
        self.gates = nn.Linear(2 * channels, 3 * channels)
        self.gate = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, states: Tensor) -> Tensor:
        """Return states (time, n, channels, height, width) with the output of the memory added."""
        time, n, _, *size = states.shape
        fields = self._pool(states.flatten(0, 1))
        memory, outputs = None, []
        # The part that does not depend on memory is computed for all steps at once.
        steps = (part.view(time, n, *part.shape[1:]).unbind(0) for part in self._gather(fields))
        for tokens, query, near in zip(*steps, strict=True):
            output, memory = self._update(tokens, query, near, memory)
            outputs.append(output)
        output = self._join(_as_field(torch.cat(outputs), fields), size)
        return states + output.reshape(time, n, *output.shape[1:])

    def cell_weights(self, states: Tensor) -> Tensor:
        """Return the mean weight of each cell in the self-attention of the states, (height, width)."""
        fields = self._pool(states.flatten(0, 1))
        tokens = _as_tokens(fields)
        scores = self.query(tokens) @ self.near_key(tokens).transpose(-2, -1) / tokens.shape[-1] ** 0.5
        weights = scores.softmax(-1).mean((0, 1))
        return functional.interpolate(weights.view(1, 1, *fields.shape[2:]), size=states.shape[3:])[0, 0]

    def step(self, hidden: Tensor, memory: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute one step of `forward`.

        Args:
            hidden: (n, channels, height, width).
            memory: as returned by the previous step; None for zeros.

        Returns:
            The new hidden state, and the memory (n, channels, rows, columns) on the grid of tokens.
        """
        field = self._pool(hidden)
        past = None if memory is None else _as_tokens(memory)
        output, past = self._update(*self._gather(field), past)
        return hidden + self._join(_as_field(output, field), hidden.shape[-2:]), _as_field(past, field)

    def _gather(self, field: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the tokens of a field, their queries and their self-attention, each (n, tokens, channels)."""
        tokens = _as_tokens(field)
        query = self.query(tokens)
        return tokens, query, _attend(query, self.near_key(tokens), self.near_value(tokens))

    def _update(self, tokens: Tensor, query: Tensor, near: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the output and the new memory."""
        if memory is None:
            # In an empty memory all keys are zero and all values are the bias.
            past = self.past_value.bias.to(near.dtype).expand_as(near)
        else:
            past = _attend(query, self.past_key(memory), self.past_value(memory))
        fused = self.fuse(torch.cat([near, past], dim=-1))
        input_gate, candidate, output_gate = self.gates(torch.cat([fused, tokens], dim=-1)).chunk(3, dim=-1)
        input_gate, candidate = torch.sigmoid(input_gate), torch.tanh(candidate)
        memory = input_gate * candidate if memory is None else memory + input_gate * (candidate - memory)
        return torch.sigmoid(output_gate) * memory, memory

    def _pool(self, field: Tensor) -> Tensor:
        """Return a field (n, channels, height, width) averaged to at most `most` cells of similar proportions."""
        height, width = field.shape[-2:]
        if height * width <= self.most:
            return field
        rows = min(max(int((self.most * height / width) ** 0.5), 1), height, self.most)
        return functional.adaptive_avg_pool2d(field, (rows, min(width, self.most // rows)))

    def _join(self, output: Tensor, size: list[int] | torch.Size) -> Tensor:
        if output.shape[-2:] != torch.Size(size):
            output = functional.interpolate(output, size=tuple(size), mode="bilinear")
        return self.gate * output


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return scaled_attention(query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)).squeeze(1)


def _as_tokens(field: Tensor) -> Tensor:
    """Return (n, channels, rows, columns) as (n, rows * columns, channels)."""
    return field.flatten(2).transpose(1, 2)


def _as_field(tokens: Tensor, like: Tensor) -> Tensor:
    """Return (n, tokens, channels) as (n, channels, rows, columns), with the rows and columns of `like`."""
    return tokens.transpose(1, 2).reshape(like.shape)
