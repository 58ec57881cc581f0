"""From a sample to features of every lead and location, by way of a small core that knows nothing of either."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from models.networks.doors import way_in, way_out
from models.networks.sample import CALENDAR, Places, Sample, Sizes


class Core(Protocol):
    """What a model of the zoo adds: from hidden inputs of the past and of what is known ahead to hidden outputs."""

    def __call__(self, past: Tensor, ahead: Tensor) -> Tensor:
        """Fields or series, time first; see `OverFields` and `OverSeries` for shapes."""
        ...


class OverFields(nn.Module):
    """Runs a core over fields: past (frame, n, hidden, h, w) and ahead (lead, n, hidden, h or 1, w or 1).

    The core returns (lead, n, hidden, h, w). Sizes of batch and grid and the number of locations are free.

    Args:
        core: an `nn.Module` that is a `Core`.
        sizes: lengths of the fixed axes.
        hidden: channels of the fields.
        size: cells along each side of the latent grid of stations.
        patch: cells along each side of a patch of a regular grid.
    """

    def __init__(self, core: nn.Module, sizes: Sizes, *, hidden: int, size: int, patch: int) -> None:
        super().__init__()
        self.core = core
        inputs = sizes.channels + sizes.static + 2
        self.past = way_in(sizes, inputs, hidden, size=size, patch=patch)
        self.clock = nn.Linear(CALENDAR, hidden, bias=False)
        self.covariates = None
        if sizes.covariates:
            self.covariates = way_in(sizes, sizes.covariates, hidden, size=size, patch=patch)
        self.ahead = _Ahead(sizes, hidden)
        self.back = way_out(sizes, hidden, size=size, patch=patch)

    def forward(self, sample: Sample) -> Tensor:
        """Features (n, lead, location, hidden)."""
        found = self.core(self._past(sample), self._ahead(sample))
        back: Tensor = self.back(found.flatten(0, 1), sample.places)
        features: Tensor = back.view(*found.shape[:2], *back.shape[1:]).permute(1, 0, 3, 2)
        return features

    def _past(self, sample: Sample) -> Tensor:
        values, known = (_time_first(part) for part in (sample.anomaly, sample.known))
        fixed = _fixed(sample.places).T.expand(len(values), -1, -1)
        values, known = torch.cat([values, fixed], dim=1), torch.cat([known, torch.ones_like(fixed)], dim=1)
        field = self.past(values, known, sample.places)
        clock = self.clock(_time_first(sample.calendar))
        joined: Tensor = (field + clock[..., None, None]).contiguous(memory_format=torch.channels_last)
        n, frames = sample.anomaly.shape[:2]
        return joined.view(frames, n, *joined.shape[1:])

    def _ahead(self, sample: Sample) -> Tensor:
        known: Tensor = self.ahead(sample)[..., None, None]
        if self.covariates is None:
            return known
        values, said = (_time_first(part) for part in (sample.covariates, sample.said))
        field: Tensor = self.covariates(values, said, sample.places)
        return known + field.view(*known.shape[:2], *field.shape[1:])


class OverSeries(nn.Module):
    """Runs a core over the series of each location, with shared weights: past (frame, m, hidden), m = n * location.

    Ahead is (lead, m, hidden), and so is what the core returns. A series sees its own values and the mean of all
    locations.

    Args:
        core: an `nn.Module` that is a `Core`.
        sizes: lengths of the fixed axes.
        hidden: width of the series.
    """

    def __init__(self, core: nn.Module, sizes: Sizes, *, hidden: int) -> None:
        super().__init__()
        self.core = core
        self.past = nn.Linear(4 * sizes.channels + sizes.static + 2 + CALENDAR, hidden)
        self.covariates = nn.Linear(2 * sizes.covariates, hidden, bias=False) if sizes.covariates else None
        self.ahead = _Ahead(sizes, hidden)

    def forward(self, sample: Sample) -> Tensor:
        """Features (n, lead, location, hidden)."""
        n, frames, _, places = sample.anomaly.shape
        past = self.past(series_features(sample)).permute(1, 0, 2, 3).reshape(frames, n * places, -1)
        ahead = self.ahead(sample)[:, :, None].expand(-1, -1, places, -1)
        if self.covariates is not None:
            told = torch.cat([sample.covariates, sample.said], dim=2).permute(1, 0, 3, 2)
            ahead = ahead + self.covariates(told)
        found = self.core(past, ahead.reshape(len(ahead), n * places, -1))
        features: Tensor = found.view(-1, n, places, found.shape[-1]).transpose(0, 1)
        return features


def series_features(sample: Sample) -> Tensor:
    """What a series sees of each frame, (n, frame, location, 4 channel + static + 8).

    Its own values and gaps, the mean of all locations and the share of them that is known, where it lies, and the
    calendar.
    """
    n, frames, _, places = sample.anomaly.shape
    count = sample.known.sum(-1, keepdim=True)
    mean = sample.anomaly.sum(-1, keepdim=True) / count.clamp(min=1)
    network = torch.cat([mean, count / places], dim=2).expand(-1, -1, -1, places)
    own = torch.cat([sample.anomaly, sample.known, network], dim=2).transpose(2, 3)
    fixed = _fixed(sample.places).expand(n, frames, -1, -1)
    clock = sample.calendar[:, :, None].expand(-1, -1, places, -1)
    return torch.cat([own, fixed, clock], dim=-1)


class _Ahead(nn.Module):
    """The lead, and the calendar of its target time: (lead, n, hidden)."""

    def __init__(self, sizes: Sizes, hidden: int) -> None:
        super().__init__()
        self.lead = nn.Parameter(torch.randn(sizes.leads, hidden) / hidden**0.5)
        self.clock = nn.Linear(CALENDAR, hidden, bias=False)

    def forward(self, sample: Sample) -> Tensor:
        clock: Tensor = self.clock(sample.ahead).transpose(0, 1)
        return clock + self.lead[:, None]


def _fixed(places: Places) -> Tensor:
    """Position and static fields, (location, 2 + static)."""
    return torch.cat([places.position - 0.5, places.static], dim=1)


def _time_first(part: Tensor) -> Tensor:
    """From (n, time, ...) to (time * n, ...)."""
    return part.transpose(0, 1).flatten(0, 1)
