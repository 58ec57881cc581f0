"""The whole network: a trunk, what every location knows of itself, and a head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.networks.heads import Head, make_head
from models.networks.sample import CALENDAR, Sample, Sizes

_EMBEDDING = 4
_LEAD = 8


class Network(nn.Module):
    """Corrects the quantiles of a base; untrained it returns them.

    Locations are interchangeable but for their position, their static fields and a small embedding, which a location
    that training never saw has not.

    Args:
        trunk: from a sample to features (n, lead, location, width).
        width: width of these features.
        sizes: lengths of the fixed axes.
        head: kind of the head; see `make_head`.
        loss: its loss.
        dropout: share of the head dropped in training.
    """

    head: Head

    def __init__(self, trunk: nn.Module, width: int, sizes: Sizes, *, head: str, loss: str, dropout: float) -> None:
        super().__init__()
        self.trunk = trunk
        self.embedding = nn.Parameter(torch.zeros(sizes.locations, _EMBEDDING))
        self.lead = nn.Parameter(torch.randn(sizes.leads, _LEAD) / _LEAD**0.5)
        own = 2 * sizes.channels + 2 * sizes.covariates + sizes.static
        base = sizes.targets * (len(sizes.levels) + 1)
        features = width + _EMBEDDING + _LEAD + CALENDAR + own + base
        self.head = make_head(head, loss, features, sizes, width=2 * width, dropout=dropout)

    def forward(self, sample: Sample) -> Tensor:
        """What the head gives, (n, lead, target, location, ...): ask it for quantiles or for the loss."""
        outputs: Tensor = self.head(self._features(sample), sample)
        return outputs

    def _features(self, sample: Sample) -> Tensor:
        """All that the head sees, (n, lead, location, features)."""
        found = self.trunk(sample)
        n, leads, places, _ = found.shape
        row = sample.places.row
        embedding = torch.where((row >= 0)[:, None], self.embedding[row.clamp(min=0)], 0.0)
        own = torch.cat([sample.anomaly[:, -1], sample.known[:, -1]], dim=1).transpose(1, 2)
        base = torch.cat([sample.base, sample.deviation.unsqueeze(-1)], dim=-1)
        parts = [
            found,
            embedding.expand(n, leads, -1, -1),
            sample.places.static.expand(n, leads, -1, -1),
            self.lead[None, :, None].expand(n, -1, places, -1),
            sample.ahead[:, :, None].expand(-1, -1, places, -1),
            own[:, None].expand(-1, leads, -1, -1),
            torch.cat([sample.covariates, sample.said], dim=2).transpose(2, 3),
            base.permute(0, 1, 3, 2, 4).flatten(3),
        ]
        return torch.cat(parts, dim=-1)
