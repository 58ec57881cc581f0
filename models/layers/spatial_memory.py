"""Self-attention memory over space (SA-ConvLSTM; Lin et al. 2020, AAAI, doi 10.1609/aaai.v34i07.6819)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.errors import ModelError
from models.layers.scaled import scaled_attention


class SpatialMemory(nn.Module):
    """Cells inform each other, however far apart, and through a slow memory; at first it passes its input on.

    With one query Q of the hidden state H, features are gathered from H and from the memory M, and the memory moves
    by as much as its gate lets in::

        Zh = softmax(Q Kh' / sqrt(d)) Vh,  Zm = softmax(Q Km' / sqrt(d)) Vm,  Z = Wz [Zh, Zm]
        i, g, o = sigmoid, tanh, sigmoid of W [Z, H]
        M = (1 - i) M + i g,  out = H + gate o M

    Published are these equations for one step of a recurrence, whose next hidden state is `out = o M`. Here maps are
    1 x 1, scores are scaled, there is a residual, and `forward` goes over states that are finished already. `gate`, a
    number per channel, starts at zero. While it is zero it alone receives a gradient; afterwards every parameter does,
    from the second step on (the first has no memory to look at). Keys have no bias: it would move all scores alike.

    Queries, keys and values are `channels` wide, and no map of cells by cells is ever held. A field of more than
    `most` cells is averaged to at most so many tokens; memory lives there, and what it says comes back bilinearly.
    Without that, permuting cells permutes the result and changes nothing else.

    Args:
        channels: channels of the states.
        most: tokens at most, such as 16 x 16.

    Raises:
        ModelError: `most` below 1.
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
        """States (time, n, channels, height, width), each joined by what cells and memory hold for it."""
        time, n, _, *size = states.shape
        fields = self._pool(states.flatten(0, 1))
        memory, said = None, []
        # What needs no memory is done for all steps at once.
        steps = (part.view(time, n, *part.shape[1:]).unbind(0) for part in self._gather(fields))
        for tokens, query, near in zip(*steps, strict=True):
            told, memory = self._update(tokens, query, near, memory)
            said.append(told)
        told = self._join(_as_field(torch.cat(said), fields), size)
        return states + told.reshape(time, n, *told.shape[1:])

    def step(self, hidden: Tensor, memory: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One step of `forward`.

        Args:
            hidden: (n, channels, height, width).
            memory: as returned by the step before; None at the start, which is the same as zeros.

        Returns:
            The joined hidden state, and the memory (n, channels, rows, columns) on the grid of tokens.
        """
        field = self._pool(hidden)
        past = None if memory is None else _as_tokens(memory)
        told, past = self._update(*self._gather(field), past)
        return hidden + self._join(_as_field(told, field), hidden.shape[-2:]), _as_field(past, field)

    def _gather(self, field: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens of a field, their queries, and what they find in each other, each (n, tokens, channels)."""
        tokens = _as_tokens(field)
        query = self.query(tokens)
        return tokens, query, _attend(query, self.near_key(tokens), self.near_value(tokens))

    def _update(self, tokens: Tensor, query: Tensor, near: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor]:
        """What the memory says, and the memory."""
        if memory is None:
            # All keys of an empty memory are zero, and all values the bias.
            past = self.past_value.bias.to(near.dtype).expand_as(near)
        else:
            past = _attend(query, self.past_key(memory), self.past_value(memory))
        fused = self.fuse(torch.cat([near, past], dim=-1))
        enter, candidate, leave = self.gates(torch.cat([fused, tokens], dim=-1)).chunk(3, dim=-1)
        enter, candidate = torch.sigmoid(enter), torch.tanh(candidate)
        memory = enter * candidate if memory is None else memory + enter * (candidate - memory)
        return torch.sigmoid(leave) * memory, memory

    def _pool(self, field: Tensor) -> Tensor:
        """A field (n, channels, height, width), averaged to at most `most` cells of about its proportions."""
        height, width = field.shape[-2:]
        if height * width <= self.most:
            return field
        rows = min(max(int((self.most * height / width) ** 0.5), 1), height, self.most)
        return functional.adaptive_avg_pool2d(field, (rows, min(width, self.most // rows)))

    def _join(self, told: Tensor, size: list[int] | torch.Size) -> Tensor:
        if told.shape[-2:] != torch.Size(size):
            told = functional.interpolate(told, size=tuple(size), mode="bilinear")
        return self.gate * told


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return scaled_attention(query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)).squeeze(1)


def _as_tokens(field: Tensor) -> Tensor:
    """(n, channels, rows, columns) as (n, rows * columns, channels)."""
    return field.flatten(2).transpose(1, 2)


def _as_field(tokens: Tensor, like: Tensor) -> Tensor:
    """(n, tokens, channels) as (n, channels, rows, columns), of the rows and columns of `like`."""
    return tokens.transpose(1, 2).reshape(like.shape)
