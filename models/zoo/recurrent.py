"""Recurrent encoder-forecasters, over series or over fields."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

Layer = Callable[[], nn.Module]
"""Factory of a recurrent stack, from inputs, time first, and initial states or None to outputs and final states."""


class Recurrent(nn.Module):
    """An encoder over past inputs, whose final states start a forecaster over future inputs.

    The forecaster gets neither its own output nor the truth, so training and serving have the same inputs.

    Args:
        layer: factory of the forecaster, and of the encoder by default.
        encoder: factory of the encoder.
        memory: optional module applied to the encoder outputs.
        attention: optional attention from forecaster outputs to encoder outputs.
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

    def forward(self, past: Tensor, future: Tensor) -> Tensor:
        """From past (frame, m, hidden, ...) and future (lead, m, hidden, ...) to (lead, m, hidden, ...)."""
        states, ends = self.encoder(past)
        if self.memory is not None:
            states = self.memory(states)
            ends = [*ends[:-1], (states[-1], *ends[-1][1:])]
        decoded, _ = self.forecaster(future.expand(-1, -1, -1, *past.shape[3:]), ends)
        output: Tensor = decoded if self.attention is None else self.attention(decoded, states)
        return output
