"""Regrid from the locations of one feed to those of another: by id, bilinearly, or from the nearest stations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from expectations.sphere import unit_vectors
from pipeline.features.arrays import Bool, Float, Int
from pipeline.locations import Locations

NEAREST = 4
"""Number of stations in the mean at a target that is not a station itself."""
_SAME_DEGREES = 1e-6
_SAME_POINT = 1e-6
"""Distance on the unit sphere, some metres, within which one station gives the value alone."""
_LEAST_WEIGHT = 1e-3
"""Least total weight of the known sources; with less, the value is unknown."""

Degrees = NDArray[np.float64]


@dataclass(frozen=True)
class Regrid:
    """For each target location, the weighted mean of those of a few source locations that are known."""

    index: Int
    """(target, k) indices of the source locations."""
    weight: Float
    """(target, k); each row sums to 1, or to 0 where the sources are too far away."""

    @classmethod
    def between(cls, source: Locations, target: Locations) -> Regrid:
        """Return the regridding from the locations of one feed to those of another.

        Locations with the same id are the same location (cells only if both grids are equal). From a grid, a target
        gets the bilinear mean of the four cells around it; up to one cell outside the grid it gets that of the edge,
        farther out it is unknown. From stations, it gets the mean of the nearest four, weighted by inverse squared
        distance.
        """
        if _are_equal(source, target):
            count = len(target)
            return cls(np.arange(count)[:, None], np.ones((count, 1), np.float32))
        if source.shape is not None:
            return cls(*_corners(source, target))
        index, weight = _nearest(source, target)
        known = {} if target.shape else {name: position for position, name in enumerate(source.ids)}
        for row, name in enumerate(target.ids):
            if name in known:
                index[row], weight[row] = known[name], 0
                weight[row, 0] = 1
        return cls(index, weight)

    def __call__(self, values: Float, mask: Bool) -> tuple[Float, Bool]:
        """Return values (..., target), 0 where unknown, and their mask, from values and mask (..., source)."""
        if self.weight.shape[1] == 1:
            return (values, mask) if values.shape[-1] == len(self.index) else self._select(values, mask)
        shape = (*values.shape[:-1], len(self.index))
        total, weights = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        complete = bool(mask.all())
        for index, weight in zip(self.index.T, self.weight.T, strict=True):
            known = weight if complete else mask[..., index] * weight
            total += values[..., index] * known
            weights += known
        enough = weights > _LEAST_WEIGHT
        return np.divide(total, weights, out=np.zeros(shape, np.float32), where=enough), enough

    def _select(self, values: Float, mask: Bool) -> tuple[Float, Bool]:
        index = self.index[:, 0]
        return values[..., index], mask[..., index]


def _are_equal(source: Locations, target: Locations) -> bool:
    if source.ids != target.ids or source.shape != target.shape:
        return False
    if source.shape is None:
        return True
    pairs = ((source.longitude, target.longitude), (source.latitude, target.latitude))
    return all(np.allclose(one, other, rtol=0, atol=_SAME_DEGREES) for one, other in pairs)


def _nearest(source: Locations, target: Locations) -> tuple[Int, Float]:
    from scipy.spatial import cKDTree  # slow to import, and not needed for grids

    count = min(NEAREST, len(source))
    points = [unit_vectors(one.longitude, one.latitude) for one in (source, target)]
    distance, index = cKDTree(points[0]).query(points[1], k=[*range(1, count + 1)])
    weight = 1 / np.maximum(distance, _SAME_POINT) ** 2
    here = distance[:, 0] <= _SAME_POINT
    weight[here] = np.arange(count) == 0
    return np.asarray(index, np.int64), (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)


def _corners(source: Locations, target: Locations) -> tuple[Int, Float]:
    rows, columns = source.shape or (1, len(source))
    latitude = np.array(source.latitude).reshape(rows, columns)[:, 0]
    longitude = np.array(source.longitude).reshape(rows, columns)[0]
    low_row, high_row, down = _along(latitude, np.array(target.latitude), around=None)
    low_column, high_column, right = _along(longitude, np.array(target.longitude), around=360.0)
    index = np.stack(
        [
            low_row * columns + low_column,
            low_row * columns + high_column,
            high_row * columns + low_column,
            high_row * columns + high_column,
        ],
        axis=1,
    )
    weight = np.stack([(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right], axis=1)
    return index, np.where(np.isfinite(weight), weight, 0).astype(np.float32)


def _along(axis: Degrees, points: Degrees, *, around: float | None) -> tuple[Int, Int, Degrees]:
    """Return the cells before and after each point along one axis, and its position between them in 0..1.

    The position is NaN more than one cell outside the axis. With `around`, an axis of that length is a circle.
    """
    count = len(axis)
    step = float(axis[-1] - axis[0]) / (count - 1) if count > 1 else 1.0
    position = (points - axis[0]) / step
    closed = False
    if around is not None:
        turn = around / abs(step)
        position = position % turn
        closed = count > 1 and abs(turn - count) < 0.5
        if not closed:  # go the shorter way around to a point outside
            position = np.where(position - (count - 1) > turn - position, position - turn, position)
    if closed:
        low = np.floor(position).astype(np.int64) % count
        return low, (low + 1) % count, position - np.floor(position)
    outside = (position < -1 - _SAME_DEGREES) | (position > count + _SAME_DEGREES)
    inside = np.clip(position, 0, count - 1)
    low = np.minimum(np.floor(inside).astype(np.int64), max(count - 2, 0))
    return low, np.minimum(low + 1, count - 1), np.where(outside, np.nan, inside - low)
