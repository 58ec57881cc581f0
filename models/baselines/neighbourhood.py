"""Neighbours of every location: the surrounding cells of a grid, or the nearest stations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from models.task import Task

# Number of nearest stations within each ring; ring r of a grid is the square r cells away.
_NEAREST = (0, 4, 8, 16)
_CHUNK = 512


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Neighbour slots with the same meaning for every location, so that weights can be shared.

    Nodes are the locations, followed on a grid by padding cells beyond its edge, which are never known.

    Attributes:
        neighbours: (location, slot), the node in each slot.
        ring: (slot,), ring of each slot; ring 0 is the location itself.
        nearness: (node, location), sparse weights of locations in an average at a node, at most 1.
    """

    neighbours: NDArray[np.intp]
    ring: NDArray[np.intp]
    nearness: Any


def find_neighbours(task: Task, rings: int) -> Neighbourhood:
    """Return squares of cells on a grid, periodic where it encircles the globe, or the nearest stations."""
    return _nearest_stations(task, rings) if task.grid is None else _squares(task, task.grid, rings)


def _squares(task: Task, grid: tuple[int, int], rings: int) -> Neighbourhood:
    cells, sides = grid[0] * grid[1], ((0, 0), (rings, rings))
    node = np.arange(cells).reshape(grid)
    if grid[1] > 2 * rings and _encircles_globe(task, grid):
        node = np.pad(node, sides, mode="wrap")
    else:
        node = np.pad(node, sides, constant_values=-1)
    node = np.pad(node, sides[::-1], constant_values=-1)
    node[node < 0] = cells + np.arange((node < 0).sum())
    offset = np.indices((2 * rings + 1, 2 * rings + 1)).reshape(2, -1) - rings
    row, column = np.indices(grid).reshape(2, -1, 1) + rings
    neighbours = node[row + offset[0], column + offset[1]]
    # A Gaussian with a scale of one cell; beyond the edge the nearest cell has weight 1.
    weight = np.broadcast_to(np.exp(-np.square(offset).sum(0) / 2), neighbours.shape)
    return Neighbourhood(neighbours, np.abs(offset).max(0), _nearness(neighbours, weight, int(node.max()) + 1))


def _encircles_globe(task: Task, grid: tuple[int, int]) -> bool:
    """Return whether the first column follows the last."""
    east = np.unwrap(np.asarray(task.longitude).reshape(grid)[0], period=360.0)
    step = (east[-1] - east[0]) / max(len(east) - 1, 1)
    return bool(np.isclose(abs(step) * len(east), 360.0, rtol=1e-3))


def _nearest_stations(task: Task, rings: int) -> Neighbourhood:
    east, north = np.radians(task.longitude), np.radians(task.latitude)
    point = np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=-1)
    size = min(len(point), _NEAREST[rings] + 1)
    # Ties are broken by id, so that the order of locations in the task does not matter.
    by_id = np.argsort(np.asarray(task.locations))
    neighbours = np.empty((len(point), size), np.intp)
    for start in range(0, len(point), _CHUNK):
        part = np.arange(start, min(start + _CHUNK, len(point)))
        distance = np.square(point[part, None] - point[None, by_id]).sum(-1)
        distance[by_id == part[:, None]] = -1.0
        neighbours[part] = by_id[np.argsort(distance, axis=1, kind="stable")[:, :size]]
    ring = np.searchsorted(_NEAREST, np.arange(size))
    return Neighbourhood(neighbours, ring, _nearness(neighbours, np.ones(neighbours.shape), len(point)).T.tocsr())


def _nearness(neighbours: NDArray[np.intp], weight: NDArray[np.float64], nodes: int) -> Any:
    """Return the weight of each location at the nodes in its slots, scaled to a maximum of 1 per node."""
    locations = np.arange(len(neighbours)).repeat(neighbours.shape[1])
    weights = csr_array(
        (weight.ravel(), (neighbours.ravel(), locations)), shape=(nodes, len(neighbours)), dtype=np.float32
    )
    largest = weights.max(axis=1).toarray().ravel()
    return csr_array(weights.multiply(1 / np.maximum(largest, 1e-9)[:, None])).astype(np.float32)
