"""Between locations and fields: a regular grid as it is, or scattered stations by set convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.layers.setconv import FromGrid, ToGrid
from models.networks.sample import Places, Sizes


class GridIn(nn.Module):
    """Cells to a field, in square patches; a grid of any size, padded with missing cells to whole patches.

    Args:
        inputs: variables that enter.
        hidden: channels of the field.
        patch: cells along each side of a patch; 1 for a field as fine as the grid.
    """

    def __init__(self, inputs: int, hidden: int, *, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.lift = nn.Conv2d(2 * inputs, hidden, patch, stride=patch)

    def forward(self, values: Tensor, known: Tensor, places: Places) -> Tensor:
        """From (m, variable, location), 0 where not `known`, to (m, hidden, height, width)."""
        joined = torch.cat([values, known], dim=1)
        joined = joined.view(*joined.shape[:2], *_shape(places))
        rows, columns = (-side % self.patch for side in joined.shape[2:])
        field: Tensor = self.lift(functional.pad(joined, (0, columns, 0, rows)))
        return field


class GridOut(nn.Module):
    """A field back to the cells.

    Args:
        hidden: channels of the field.
        patch: as on the way in.
    """

    def __init__(self, hidden: int, *, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.unfold = nn.Conv2d(hidden, hidden * patch * patch, 1) if patch > 1 else nn.Identity()

    def forward(self, field: Tensor, places: Places) -> Tensor:
        """From (m, hidden, height, width) to (m, hidden, location)."""
        fine = functional.pixel_shuffle(self.unfold(field), self.patch)
        rows, columns = _shape(places)
        return fine[:, :, :rows, :columns].flatten(2)


class SetIn(nn.Module):
    """Stations to a latent grid by set convolution, whatever their number or gaps.

    Args:
        inputs: variables that enter.
        hidden: channels of the field.
        size: cells along each side of the latent grid.
    """

    def __init__(self, inputs: int, hidden: int, *, size: int) -> None:
        super().__init__()
        self.to_grid = ToGrid(size)
        self.lift = nn.Conv2d(2 * inputs, hidden, 1)

    def forward(self, values: Tensor, known: Tensor, places: Places) -> Tensor:
        """From (m, variable, location), 0 where not `known`, to (m, hidden, size, size)."""
        field: Tensor = self.lift(self.to_grid(values, known, places.position))
        return field


class SetOut(nn.Module):
    """A latent grid to the stations, or to any place among them.

    Args:
        size: as on the way in.
    """

    def __init__(self, *, size: int) -> None:
        super().__init__()
        self.from_grid = FromGrid(size)

    def forward(self, field: Tensor, places: Places) -> Tensor:
        """From (m, hidden, size, size) to (m, hidden, location)."""
        found: Tensor = self.from_grid(field, places.position)
        return found


def way_in(sizes: Sizes, inputs: int, hidden: int, *, size: int, patch: int) -> GridIn | SetIn:
    """From the locations of a network to its fields."""
    return SetIn(inputs, hidden, size=size) if sizes.scattered else GridIn(inputs, hidden, patch=patch)


def way_out(sizes: Sizes, hidden: int, *, size: int, patch: int) -> GridOut | SetOut:
    """From the fields of a network to its locations."""
    return SetOut(size=size) if sizes.scattered else GridOut(hidden, patch=patch)


def _shape(places: Places) -> tuple[int, int]:
    if places.grid is None:
        raise ValueError("a network for the cells of a grid was shown stations")
    return places.grid
