"""The whole network: a trunk, features of each location, and a head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.networks.heads import Head, make_head
from models.networks.sample import CALENDAR, Dimensions, Sample

_EMBEDDING = 4
_LEAD = 8


class Network(nn.Module):
    """Corrects the quantiles of a base; untrained, it returns them unchanged.

    Locations share all weights and differ by position, static fields and a small embedding, which is zero for a
    location that training never saw.

    Args:
        trunk: maps a sample to features (n, lead, location, width).
        width: width of these features.
        dims: axis lengths of the task.
        head: kind of the head; see `make_head`.
        loss: loss of the head.
        dropout: dropout rate in the head.
    """

    head: Head

    def __init__(self, trunk: nn.Module, width: int, dims: Dimensions, *, head: str, loss: str, dropout: float) -> None:
        super().__init__()
        self.trunk = trunk
        self.embedding = nn.Parameter(torch.zeros(dims.locations, _EMBEDDING))
        self.lead = nn.Parameter(torch.randn(dims.leads, _LEAD) / _LEAD**0.5)
        own = 2 * dims.channels + 2 * dims.covariates + dims.static
        base = dims.targets * (len(dims.levels) + 1)
        features = width + _EMBEDDING + _LEAD + CALENDAR + own + base
        self.head = make_head(head, loss, features, dims, width=2 * width, dropout=dropout)

    def forward(self, sample: Sample) -> Tensor:
        """Return the raw outputs (n, lead, target, location, ...) that the head turns into quantiles or a loss."""
        outputs: Tensor = self.head(self._features(sample), sample)
        return outputs

    def _features(self, sample: Sample) -> Tensor:
        """Return the input of the head, (n, lead, location, features)."""
        features = self.trunk(sample)
        n, leads, locations, _ = features.shape
        row = sample.locations.row
        embedding = torch.where((row >= 0)[:, None], self.embedding[row.clamp(min=0)], 0.0)
        own = torch.cat([sample.anomaly[:, -1], sample.known[:, -1]], dim=1).transpose(1, 2)
        base = torch.cat([sample.base, sample.deviation.unsqueeze(-1)], dim=-1)
        parts = [
            features,
            embedding.expand(n, leads, -1, -1),
            sample.locations.static.expand(n, leads, -1, -1),
            self.lead[None, :, None].expand(n, -1, locations, -1),
            sample.target_calendar[:, :, None].expand(-1, -1, locations, -1),
            own[:, None].expand(-1, leads, -1, -1),
            torch.cat([sample.covariates, sample.covariate_mask], dim=2).transpose(2, 3),
            base.permute(0, 1, 3, 2, 4).flatten(3),
        ]
        return torch.cat(parts, dim=-1)
