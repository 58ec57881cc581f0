"""Spatial transformer (Jaderberg et al. 2015, arXiv:1506.02025)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.layers.blocks import ConvBlock

_SIDE = 4


class SpatialTransformer(nn.Module):
    """Applies an affine transform, predicted by a small localisation network; initially the identity.

    The localisation network accepts fields of any size. The field is sampled bilinearly, and its edge values continue
    beyond it.

    Args:
        seen: input channels of the localisation network.
        hidden: hidden channels of the localisation network.
    """

    def __init__(self, seen: int, hidden: int) -> None:
        super().__init__()
        self.localisation = nn.Sequential(
            ConvBlock(seen, hidden, stride=2), ConvBlock(hidden, hidden), nn.AdaptiveAvgPool2d(_SIDE), nn.Flatten()
        )
        self.affine = nn.Linear(hidden * _SIDE * _SIDE, 6)
        nn.init.zeros_(self.affine.weight)
        with torch.no_grad():
            self.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))

    def transform(self, seen: Tensor) -> Tensor:
        """Return affine matrices (n, 2, 3) from output to input coordinates, both (x, y) in -1..1 from edge to edge."""
        matrices: Tensor = self.affine(self.localisation(seen))
        return matrices.view(-1, 2, 3)

    def forward(self, field: Tensor, seen: Tensor) -> Tensor:
        """Transform the field (n, channels, height, width) as predicted from `seen` (n, seen, height, width)."""
        # bfloat16 is too coarse for positions.
        wide = torch.promote_types(field.dtype, torch.float32)
        points = functional.affine_grid(self.transform(seen).to(wide), list(field.shape), align_corners=False)
        moved = functional.grid_sample(field.to(wide), points, padding_mode="border", align_corners=False)
        return moved.to(field.dtype)
