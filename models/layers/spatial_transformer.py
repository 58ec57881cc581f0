"""Spatial transformer (Jaderberg et al. 2015, arXiv:1506.02025)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.layers.blocks import ConvBlock

_SIDE = 4


class SpatialTransformer(nn.Module):
    """Moves, turns and stretches a field, as a small network says; at first it passes the field on unchanged.

    The localisation network sees fields of any size, makes of them an affine transform, and the field is read
    bilinearly where it points. Beyond its edge the field goes on as it ends.

    Args:
        seen: channels that the localisation network sees.
        hidden: channels within it.
    """

    def __init__(self, seen: int, hidden: int) -> None:
        super().__init__()
        self.look = nn.Sequential(
            ConvBlock(seen, hidden, stride=2), ConvBlock(hidden, hidden), nn.AdaptiveAvgPool2d(_SIDE), nn.Flatten()
        )
        self.decide = nn.Linear(hidden * _SIDE * _SIDE, 6)
        nn.init.zeros_(self.decide.weight)
        with torch.no_grad():
            self.decide.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))

    def transform(self, seen: Tensor) -> Tensor:
        """Affine matrices (n, 2, 3) from output to input coordinates, both (x, y) in -1..1 from edge to edge."""
        found: Tensor = self.decide(self.look(seen))
        return found.view(-1, 2, 3)

    def forward(self, field: Tensor, seen: Tensor) -> Tensor:
        """The field (n, channels, height, width), transformed as `seen` (n, seen, height, width) asks for."""
        # Positions need more digits than bf16 has.
        wide = torch.promote_types(field.dtype, torch.float32)
        points = functional.affine_grid(self.transform(seen).to(wide), list(field.shape), align_corners=False)
        moved = functional.grid_sample(field.to(wide), points, padding_mode="border", align_corners=False)
        return moved.to(field.dtype)
