"""Who informs whom: the cells around a cell, or the stations nearest to a station."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from models.task import Task

# The rings of a station end with so many neighbours; ring r of a cell is the square r cells away.
_NEAREST = (0, 4, 8, 16)
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Stencil:
    """Slots around every location, of the same meaning for each, so that weights can be shared.

    Places are the locations, followed on a grid by the cells beyond its edge, of which nothing is ever known.

    Attributes:
        neighbours: (location, slot), the place in each slot.
        ring: (slot,), how far out a slot lies, from 0, the location itself.
        nearness: (place, location), sparse: what the value at a location is worth at a place, at most 1.
    """

    neighbours: NDArray[np.intp]
    ring: NDArray[np.intp]
    nearness: Any


def stencil(task: Task, rings: int) -> Stencil:
    """Squares of cells on a grid, which closes where it goes round the globe; else the nearest stations."""
    return _nearest(task, rings) if task.grid is None else _squares(task, task.grid, rings)


def _squares(task: Task, grid: tuple[int, int], rings: int) -> Stencil:
    cells, sides = grid[0] * grid[1], ((0, 0), (rings, rings))
    place = np.arange(cells).reshape(grid)
    if grid[1] > 2 * rings and _encircles(task, grid):
        place = np.pad(place, sides, mode="wrap")
    else:
        place = np.pad(place, sides, constant_values=-1)
    place = np.pad(place, sides[::-1], constant_values=-1)
    place[place < 0] = cells + np.arange((place < 0).sum())
    offset = np.indices((2 * rings + 1, 2 * rings + 1)).reshape(2, -1) - rings
    row, column = np.indices(grid).reshape(2, -1, 1) + rings
    neighbours = place[row + offset[0], column + offset[1]]
    # A Gaussian of one cell; beyond the edge the nearest cell counts in full.
    weight = np.broadcast_to(np.exp(-np.square(offset).sum(0) / 2), neighbours.shape)
    return Stencil(neighbours, np.abs(offset).max(0), _nearness(neighbours, weight, int(place.max()) + 1))


def _encircles(task: Task, grid: tuple[int, int]) -> bool:
    """Whether the first column follows the last."""
    east = np.unwrap(np.asarray(task.longitude).reshape(grid)[0], period=360.0)
    step = (east[-1] - east[0]) / max(len(east) - 1, 1)
    return bool(np.isclose(abs(step) * len(east), 360.0, rtol=1e-3))


def _nearest(task: Task, rings: int) -> Stencil:
    east, north = np.radians(task.longitude), np.radians(task.latitude)
    point = np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=-1)
    size = min(len(point), _NEAREST[rings] + 1)
    # Equally near stations follow each other by name, so that their order in the task means nothing.
    named = np.argsort(np.asarray(task.locations))
    neighbours = np.empty((len(point), size), np.intp)
    for start in range(0, len(point), _BLOCK):
        part = np.arange(start, min(start + _BLOCK, len(point)))
        distance = np.square(point[part, None] - point[None, named]).sum(-1)
        distance[named == part[:, None]] = -1.0
        neighbours[part] = named[np.argsort(distance, axis=1, kind="stable")[:, :size]]
    ring = np.searchsorted(_NEAREST, np.arange(size))
    return Stencil(neighbours, ring, _nearness(neighbours, np.ones(neighbours.shape), len(point)).T.tocsr())


def _nearness(neighbours: NDArray[np.intp], weight: NDArray[np.float64], places: int) -> Any:
    """What each location says of the places in its slots, the largest of a place scaled to 1."""
    locations = np.arange(len(neighbours)).repeat(neighbours.shape[1])
    found = csr_array(
        (weight.ravel(), (neighbours.ravel(), locations)), shape=(places, len(neighbours)), dtype=np.float32
    )
    largest = found.max(axis=1).toarray().ravel()
    return csr_array(found.multiply(1 / np.maximum(largest, 1e-9)[:, None])).astype(np.float32)
