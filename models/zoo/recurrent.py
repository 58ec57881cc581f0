"""Recurrent encoder-forecasters, over series or over fields."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

Layer = Callable[[], nn.Module]
"""Makes a recurrent stack: from inputs, time first, and states or None to outputs and last states."""


class Recurrent(nn.Module):
    """Reads the past into states, then steps on from them through what is known ahead.

    The forecaster is fed neither its own output nor the truth, so training and serving see the same.

    Args:
        layer: makes the encoder, and once more the forecaster.
        encoder: makes the encoder, where it is another.
        memory: what the encoder's outputs go through before they are handed on, if anything.
        attention: joins to each output of the forecaster what the encoder's outputs hold for it, if anything.
    """

    def __init__(
        self,
        layer: Layer,
        *,
        encoder: Layer | None = None,
        memory: nn.Module | None = None,
        attention: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.forecaster = (encoder or layer)(), layer()
        self.memory, self.attention = memory, attention

    def forward(self, past: Tensor, ahead: Tensor) -> Tensor:
        """From past (frame, m, hidden, ...) and ahead (lead, m, hidden, ...) to (lead, m, hidden, ...)."""
        states, ends = self.encoder(past)
        if self.memory is not None:
            states = self.memory(states)
            ends = [*ends[:-1], (states[-1], *ends[-1][1:])]
        decoded, _ = self.forecaster(ahead.expand(-1, -1, -1, *past.shape[3:]), ends)
        found: Tensor = decoded if self.attention is None else self.attention(decoded, states)
        return found
