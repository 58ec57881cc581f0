"""Encoders from locations to fields and decoders back: a regular grid directly, stations by set convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.layers.setconv import FromGrid, ToGrid
from models.networks.sample import Dimensions, Locations


class GridEncoder(nn.Module):
    """Maps the cells of a grid to a field, in square patches. A grid of any size is padded with missing cells.

    Args:
        inputs: number of input variables.
        hidden: channels of the field.
        patch: cells along each side of a patch; 1 keeps the resolution of the grid.
    """

    def __init__(self, inputs: int, hidden: int, *, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.lift = nn.Conv2d(2 * inputs, hidden, patch, stride=patch)

    def forward(self, values: Tensor, known: Tensor, locations: Locations) -> Tensor:
        """From (m, variable, location), 0 where not `known`, to (m, hidden, height, width)."""
        joined = torch.cat([values, known], dim=1)
        joined = joined.view(*joined.shape[:2], *_grid_shape(locations))
        rows, columns = (-side % self.patch for side in joined.shape[2:])
        field: Tensor = self.lift(functional.pad(joined, (0, columns, 0, rows)))
        return field


class GridDecoder(nn.Module):
    """Maps a field back to the cells of a grid.

    Args:
        hidden: channels of the field.
        patch: as in the encoder.
    """

    def __init__(self, hidden: int, *, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.unfold = nn.Conv2d(hidden, hidden * patch * patch, 1) if patch > 1 else nn.Identity()

    def forward(self, field: Tensor, locations: Locations) -> Tensor:
        """From (m, hidden, height, width) to (m, hidden, location)."""
        return _cut(functional.pixel_shuffle(self.unfold(field), self.patch), locations)

    def interpolate(self, field: Tensor, locations: Locations) -> Tensor:
        """Return the value of the patch of each cell: from (m, channel, height, width) to (m, channel, location)."""
        return _cut(functional.interpolate(field, scale_factor=float(self.patch)), locations)


class SetEncoder(nn.Module):
    """Maps stations to a latent grid by set convolution, for any number of stations and any gaps.

    Args:
        inputs: number of input variables.
        hidden: channels of the field.
        size: cells along each side of the latent grid.
    """

    def __init__(self, inputs: int, hidden: int, *, size: int) -> None:
        super().__init__()
        self.to_grid = ToGrid(size)
        self.lift = nn.Conv2d(2 * inputs, hidden, 1)

    def forward(self, values: Tensor, known: Tensor, locations: Locations) -> Tensor:
        """From (m, variable, location), 0 where not `known`, to (m, hidden, size, size)."""
        field: Tensor = self.lift(self.to_grid(values, known, locations.position))
        return field


class SetDecoder(nn.Module):
    """Interpolates a latent grid to stations, or to any other positions.

    Args:
        size: as in the encoder.
    """

    def __init__(self, *, size: int) -> None:
        super().__init__()
        self.from_grid = FromGrid(size)

    def forward(self, field: Tensor, locations: Locations) -> Tensor:
        """From (m, hidden, size, size) to (m, hidden, location)."""
        return self.interpolate(field, locations)

    def interpolate(self, field: Tensor, locations: Locations) -> Tensor:
        """Return values at positions: from (m, channel, size, size) to (m, channel, location)."""
        output: Tensor = self.from_grid(field, locations.position)
        return output


def make_encoder(dims: Dimensions, inputs: int, hidden: int, *, size: int, patch: int) -> GridEncoder | SetEncoder:
    """Return the encoder for a grid or for stations."""
    return SetEncoder(inputs, hidden, size=size) if dims.scattered else GridEncoder(inputs, hidden, patch=patch)


def make_decoder(dims: Dimensions, hidden: int, *, size: int, patch: int) -> GridDecoder | SetDecoder:
    """Return the decoder for a grid or for stations."""
    return SetDecoder(size=size) if dims.scattered else GridDecoder(hidden, patch=patch)


def _cut(fine: Tensor, locations: Locations) -> Tensor:
    """Return the cells of the grid, without padding: (m, channel, location)."""
    rows, columns = _grid_shape(locations)
    return fine[:, :, :rows, :columns].flatten(2)


def _grid_shape(locations: Locations) -> tuple[int, int]:
    if locations.grid is None:
        raise ValueError("a network built for a grid cannot read stations")
    return locations.grid
