"""Where the location axis lies: scattered stations, or the cells of a grid.

Every array of this package has one flat location axis. `Space` shows any of them as they lie in the world, and
`field_of` gives frames with their mask and their coordinates: the way to grids and stations for models and plots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import NightcastError
from pipeline.features.arrays import Bool, Float, Frames, Times
from pipeline.locations import Locations

Degrees = NDArray[np.float64]
Kind = TypeVar("Kind", bound=np.generic)


@dataclass(frozen=True)
class Space:
    """Coordinates in the shape of the world: (station,) or (y, x); rows of a grid run along latitude."""

    longitude: Degrees
    """Degrees east."""
    latitude: Degrees
    """Degrees north."""

    @classmethod
    def of(cls, locations: Locations) -> Space:
        """Return where the locations of a feed lie."""
        shape = locations.shape or (len(locations),)
        return cls(*(np.array(axis).reshape(shape) for axis in (locations.longitude, locations.latitude)))

    @property
    def shape(self) -> tuple[int, ...]:
        """(station,) or (y, x)."""
        return self.longitude.shape

    @property
    def is_grid(self) -> bool:
        """Whether the locations are the cells of a grid."""
        return self.longitude.ndim == 2

    def spread(self, array: NDArray[Kind], *, axis: int = -1) -> NDArray[Kind]:
        """Return an array with its flat location axis as (y, x), or as it is for stations; a view.

        Raises:
            NightcastError: the axis has another length than there are locations.
        """
        at = axis % array.ndim
        if array.shape[at] != self.longitude.size:
            raise NightcastError(f"axis {axis} of {array.shape} does not hold {self.longitude.size} locations")
        return array.reshape(*array.shape[:at], *self.shape, *array.shape[at + 1 :], copy=False)

    def flat(self, array: NDArray[Kind], *, axis: int = -1) -> NDArray[Kind]:
        """Return an array whose last spatial axis is `axis` with one flat location axis: undoes `spread`.

        Raises:
            NightcastError: the axes have other lengths than the space.
        """
        end = axis % array.ndim + 1
        begin = end - len(self.shape)
        if array.shape[begin:end] != self.shape:
            raise NightcastError(f"axes {array.shape[begin:end]} of {array.shape} are not a space of {self.shape}")
        return array.reshape(*array.shape[:begin], self.longitude.size, *array.shape[end:])


@dataclass(frozen=True)
class Field:
    """Frames as they lie in the world, with all it takes to plot or to convolve them."""

    times: Times
    """(time,) valid times, UTC."""
    values: Float
    """(time, channel, y, x) or (time, channel, station), 0 where nothing was known."""
    mask: Bool
    """The same shape, True where a value was known."""
    space: Space


def field_of(frames: Frames, locations: Locations, part: slice = slice(None)) -> Field:
    """Return the first known values of some frames as a field: views, which read nothing and copy nothing."""
    space = Space.of(locations)
    return Field(frames.times[part], space.spread(frames.first[part]), space.spread(frames.mask[part]), space)
