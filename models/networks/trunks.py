"""Trunks: from a sample to features of every lead and location, around a core over fields or series."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from models.networks.encoders import make_decoder, make_encoder
from models.networks.sample import CALENDAR, Dimensions, Locations, Sample


class Core(Protocol):
    """The part that each model of the zoo adds: from encoded past and future inputs to hidden outputs."""

    def __call__(self, past: Tensor, future: Tensor) -> Tensor:
        """Map fields or series, time first; see `FieldTrunk` and `SeriesTrunk` for shapes."""
        ...


class FieldTrunk(nn.Module):
    """Runs a core over fields.

    The core gets past inputs (frame, n, hidden, h, w) and future inputs (lead, n, hidden, h or 1, w or 1), and returns
    (lead, n, hidden, h, w). The batch, the grid and the number of locations may vary.

    Args:
        core: an `nn.Module` that is a `Core`.
        dims: axis lengths of the task.
        hidden: channels of the fields.
        size: cells along each side of the latent grid of stations.
        patch: cells along each side of a patch of a regular grid.
    """

    def __init__(self, core: nn.Module, dims: Dimensions, *, hidden: int, size: int, patch: int) -> None:
        super().__init__()
        self.core = core
        inputs = dims.channels + dims.static + 2
        self.encoder = make_encoder(dims, inputs, hidden, size=size, patch=patch)
        self.calendar = nn.Linear(CALENDAR, hidden, bias=False)
        self.covariate_encoder = None
        if dims.covariates:
            self.covariate_encoder = make_encoder(dims, dims.covariates, hidden, size=size, patch=patch)
        self.lead_encoder = _LeadEncoder(dims, hidden)
        self.decoder = make_decoder(dims, hidden, size=size, patch=patch)

    def forward(self, sample: Sample) -> Tensor:
        """Return features (n, lead, location, hidden)."""
        output = self.core(self._past(sample), self._future(sample))
        decoded: Tensor = self.decoder(output.flatten(0, 1), sample.locations)
        features: Tensor = decoded.view(*output.shape[:2], *decoded.shape[1:]).permute(1, 0, 3, 2)
        return features

    def at_locations(self, field: Tensor, locations: Locations) -> Tensor:
        """Return the values (location,) of a field (h, w) of the core."""
        values: Tensor = self.decoder.interpolate(field[None, None], locations)
        return values[0, 0]

    def _past(self, sample: Sample) -> Tensor:
        values, known = (_time_first(part) for part in (sample.anomaly, sample.known))
        constant = _constant_features(sample.locations).T.expand(len(values), -1, -1)
        values, known = torch.cat([values, constant], dim=1), torch.cat([known, torch.ones_like(constant)], dim=1)
        field = self.encoder(values, known, sample.locations)
        calendar = self.calendar(_time_first(sample.calendar))
        joined: Tensor = (field + calendar[..., None, None]).contiguous(memory_format=torch.channels_last)
        n, frames = sample.anomaly.shape[:2]
        return joined.view(frames, n, *joined.shape[1:])

    def _future(self, sample: Sample) -> Tensor:
        leads: Tensor = self.lead_encoder(sample)[..., None, None]
        if self.covariate_encoder is None:
            return leads
        values, mask = (_time_first(part) for part in (sample.covariates, sample.covariate_mask))
        field: Tensor = self.covariate_encoder(values, mask, sample.locations)
        return leads + field.view(*leads.shape[:2], *field.shape[1:])


class SeriesTrunk(nn.Module):
    """Runs a core over the series of each location, with shared weights.

    The core gets past inputs (frame, m, hidden) with m = n * location, and future inputs (lead, m, hidden), and returns
    (lead, m, hidden). A series contains its own values and the mean of all locations.

    Args:
        core: an `nn.Module` that is a `Core`.
        dims: axis lengths of the task.
        hidden: width of the series.
    """

    def __init__(self, core: nn.Module, dims: Dimensions, *, hidden: int) -> None:
        super().__init__()
        self.core = core
        self.encoder = nn.Linear(4 * dims.channels + dims.static + 2 + CALENDAR, hidden)
        self.covariate_encoder = nn.Linear(2 * dims.covariates, hidden, bias=False) if dims.covariates else None
        self.lead_encoder = _LeadEncoder(dims, hidden)

    def forward(self, sample: Sample) -> Tensor:
        """Return features (n, lead, location, hidden)."""
        n, frames, _, locations = sample.anomaly.shape
        past = self.encoder(series_features(sample)).permute(1, 0, 2, 3).reshape(frames, n * locations, -1)
        future = self.future(sample).expand(-1, -1, locations, -1)
        output = self.core(past, future.reshape(len(future), n * locations, -1))
        features: Tensor = output.view(-1, n, locations, output.shape[-1]).transpose(0, 1)
        return features

    def future(self, sample: Sample) -> Tensor:
        """Return the future inputs (lead, n, location, hidden); (lead, n, 1, hidden) without covariates."""
        future: Tensor = self.lead_encoder(sample)[:, :, None]
        if self.covariate_encoder is not None:
            covariates = torch.cat([sample.covariates, sample.covariate_mask], dim=2).permute(1, 0, 3, 2)
            future = future + self.covariate_encoder(covariates)
        return future


def series_features(sample: Sample) -> Tensor:
    """Return the input of a series at each frame, (n, frame, location, 4 channel + static + 8).

    These are its own values and mask, the mean of all locations and the share of them that is known, its position,
    static fields, and the calendar.
    """
    n, frames, _, locations = sample.anomaly.shape
    count = sample.known.sum(-1, keepdim=True)
    mean = sample.anomaly.sum(-1, keepdim=True) / count.clamp(min=1)
    regional = torch.cat([mean, count / locations], dim=2).expand(-1, -1, -1, locations)
    own = torch.cat([sample.anomaly, sample.known, regional], dim=2).transpose(2, 3)
    constant = _constant_features(sample.locations).expand(n, frames, -1, -1)
    calendar = sample.calendar[:, :, None].expand(-1, -1, locations, -1)
    return torch.cat([own, constant, calendar], dim=-1)


class _LeadEncoder(nn.Module):
    """Encodes the lead and the calendar of its target time: (lead, n, hidden)."""

    def __init__(self, dims: Dimensions, hidden: int) -> None:
        super().__init__()
        self.lead = nn.Parameter(torch.randn(dims.leads, hidden) / hidden**0.5)
        self.calendar = nn.Linear(CALENDAR, hidden, bias=False)

    def forward(self, sample: Sample) -> Tensor:
        calendar: Tensor = self.calendar(sample.target_calendar).transpose(0, 1)
        return calendar + self.lead[:, None]


def _constant_features(locations: Locations) -> Tensor:
    """Return position and static fields, (location, 2 + static)."""
    return torch.cat([locations.position - 0.5, locations.static], dim=1)


def _time_first(part: Tensor) -> Tensor:
    """From (n, time, ...) to (time * n, ...)."""
    return part.transpose(0, 1).flatten(0, 1)
