"""The network of the flagship: stations to a latent grid, through time, and back to stations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.errors import ModelError
from models.layers.attention import TEMPORAL, SpatialMemory, Temporal, TemporalAttention
from models.layers.convlstm import ConvLSTM
from models.layers.setconv import FromGrid, ToGrid
from models.networks.heads import OrderedCorrection

CALENDAR = 6
_EMBEDDING = 4


class Sample(NamedTuple):
    """What the network sees of n issue times.

    Attributes:
        anomaly: (n, frame, channel, location), 0 where missing.
        known: same shape, 1 where known, else 0.
        calendar: (n, frame, 6), sine and cosine of year, day and week.
        ahead: (n, lead, 6), the same of the target times.
        base: (n, lead, target, location, level), quantiles to correct.
        deviation: (n, lead, target, location), deviation of the base.
    """

    anomaly: Tensor
    known: Tensor
    calendar: Tensor
    ahead: Tensor
    base: Tensor
    deviation: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Size and parts of the network.

    Attributes:
        hidden: channels of the states.
        grid: cells along each side of the latent grid.
        layers: cells stacked in encoder and decoder.
        frames: last context frames that are read; 0 for all.
        temporal: attention from each lead to the encoder states. Off: it tied with its control on daily
            wind (three seeds) and lost on hourly counts (one).
        spatial: whether cells attend to each other through a memory. Off: it won with one seed and lost
            with the other on hourly counts.
        peepholes: whether gates see the cell.
        dropout: share of the head dropped in training.
    """

    hidden: int = 16
    grid: int = 5
    layers: int = 1
    frames: int = 6
    temporal: Temporal = "none"
    spatial: bool = False
    peepholes: bool = False
    dropout: float = 0.2

    def __post_init__(self) -> None:
        for name in ("hidden", "grid", "layers"):
            if (value := getattr(self, name)) < 1:
                raise ModelError(f"attention-convlstm: {name} must be at least 1, found {value}")
        if self.hidden % 4:
            raise ModelError(f"attention-convlstm: hidden must be a multiple of 4, found {self.hidden}")
        if self.frames < 0:
            raise ModelError(f"attention-convlstm: frames must not be negative, found {self.frames}")
        if self.temporal not in TEMPORAL:
            raise ModelError(f"attention-convlstm: temporal {self.temporal!r} is none of {list(TEMPORAL)}")
        if not 0 <= self.dropout < 1:
            raise ModelError(f"attention-convlstm: dropout must lie in [0, 1), found {self.dropout}")


class Forecaster(nn.Module):
    """Set convolution, ConvLSTM encoder and decoder, attention, and a correction of the base quantiles.

    The decoder is fed the calendar and the lead alone, never a forecast or the truth, so training and
    serving see the same. Stations are interchangeable but for their position and a small embedding.

    Args:
        shape: size and parts.
        channels: input variables.
        targets: forecast variables.
        leads: forecast steps.
        levels: number of quantiles.
        median: position of the median among them.
        positions: (location, 2) within the unit square.
    """

    positions: Tensor

    def __init__(
        self,
        shape: Shape,
        *,
        channels: int,
        targets: int,
        leads: int,
        levels: int,
        median: int,
        positions: Tensor,
    ) -> None:
        super().__init__()
        hidden = shape.hidden
        self.register_buffer("positions", positions, persistent=False)
        self.recent = shape.frames
        self.embedding = nn.Parameter(torch.zeros(len(positions), _EMBEDDING))
        self.to_grid = ToGrid(shape.grid)
        self.lift = nn.Conv2d(2 * channels + CALENDAR, hidden, 1)
        self.encoder = ConvLSTM(hidden, layers=shape.layers, peepholes=shape.peepholes)
        self.memory = SpatialMemory(hidden) if shape.spatial else None
        self.lead = nn.Parameter(torch.randn(leads, hidden) / hidden**0.5)
        self.clock = nn.Linear(CALENDAR, hidden)
        self.decoder = ConvLSTM(hidden, layers=shape.layers, peepholes=shape.peepholes)
        self.attention = None
        if shape.temporal != "none":
            self.attention = TemporalAttention(hidden, kind=shape.temporal)
        self.from_grid = FromGrid(shape.grid)
        local = 2 * channels + targets * (levels + 1)
        features = hidden + _EMBEDDING + CALENDAR + hidden + local
        self.head = OrderedCorrection(features, targets, levels, median, width=2 * hidden, dropout=shape.dropout)

    def forward(self, sample: Sample) -> Tensor:
        """Quantiles (n, lead, target, location, level) of the standardised anomaly."""
        states, ends = self.encoder(self._encode(sample))
        if self.memory is not None:
            states = self.memory(states)
            ends[-1] = (states[-1], ends[-1][1])
        ahead = self._ahead(sample)
        decoded, _ = self.decoder(ahead.expand(-1, -1, -1, *states.shape[-2:]), ends)
        if self.attention is not None:
            decoded = self.attention(decoded, states)
        field = self.from_grid(decoded.flatten(0, 1), self.positions).unflatten(0, decoded.shape[:2])
        features = self._features(sample, field.permute(1, 0, 3, 2))
        quantiles: Tensor = self.head(features, sample.base, sample.deviation)
        return quantiles

    def _encode(self, sample: Sample) -> Tensor:
        """Latent fields (frame, n, hidden, grid, grid), channels last in memory."""
        recent = slice(-self.recent if self.recent else None, None)
        values, known = (part[:, recent].transpose(0, 1) for part in (sample.anomaly, sample.known))
        fields = self.to_grid(values.flatten(0, 1), known.flatten(0, 1), self.positions)
        clock = sample.calendar[:, recent].transpose(0, 1).flatten(0, 1)
        clock = clock[:, :, None, None].expand(-1, -1, *fields.shape[-2:])
        joined = torch.cat([fields, clock], dim=1).contiguous(memory_format=torch.channels_last)
        lifted: Tensor = self.lift(joined)
        return lifted.view(*values.shape[:2], *lifted.shape[1:])

    def _ahead(self, sample: Sample) -> Tensor:
        """Decoder inputs (lead, n, hidden, 1, 1): the calendar of the target time and the lead."""
        clock: Tensor = self.clock(sample.ahead).transpose(0, 1)
        return (clock + self.lead[:, None])[..., None, None]

    def _features(self, sample: Sample, field: Tensor) -> Tensor:
        """All that the head sees, (n, lead, location, features)."""
        n, leads, places, _ = field.shape
        own = torch.cat([sample.anomaly[:, -1], sample.known[:, -1]], dim=1).transpose(1, 2)
        base = torch.cat([sample.base, sample.deviation.unsqueeze(-1)], dim=-1)
        parts = [
            field,
            self.embedding.expand(n, leads, -1, -1),
            sample.ahead[:, :, None].expand(-1, -1, places, -1),
            self.lead[None, :, None].expand(n, -1, places, -1),
            own[:, None].expand(-1, leads, -1, -1),
            base.permute(0, 1, 3, 2, 4).flatten(3),
        ]
        return torch.cat(parts, dim=-1)
