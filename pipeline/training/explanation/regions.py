"""Regions of locations that lie close to each other: blocks of a grid, clusters of stations."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.locations import Locations

MOST_STATIONS = 24
"""Most stations that are each a region of their own."""
DIVISIONS = 4
"""A grid is divided into at most 4 x 4 blocks, a longer list of stations into 2 ** 4 clusters."""


@dataclass(frozen=True)
class Region:
    """Some of the locations."""

    name: str
    """The id of a single location; otherwise a number."""
    title: str
    """For people, e.g. ``Malin Head``, ``9 stations around Birr`` or ``cells 52 to 54° N, 10 to 8° W``."""
    members: NDArray[np.bool_]
    """(location,)"""

    @property
    def is_single(self) -> bool:
        """Whether it is one location."""
        return bool(self.members.sum() == 1)


def divide(locations: Locations) -> tuple[Region, ...]:
    """Return regions that have every location once: few stations one by one, more stations and cells by position."""
    count = len(locations)
    if locations.shape is not None:
        return tuple(_blocks(locations, locations.shape))
    if count <= MOST_STATIONS:
        return tuple(_region(index, "", np.array([index]), locations) for index in range(count))
    clusters = _halve(_plane(locations), np.arange(count), DIVISIONS)
    return tuple(_cluster(number, members, locations) for number, members in enumerate(clusters, 1))


def _blocks(locations: Locations, shape: tuple[int, int]) -> list[Region]:
    index = np.arange(len(locations)).reshape(shape)
    parts = [np.array_split(np.arange(side), min(side, DIVISIONS)) for side in shape]
    regions: list[Region] = []
    for rows in parts[0]:
        for columns in parts[1]:
            cells = index[np.ix_(rows, columns)].ravel()
            regions.append(_region(len(regions) + 1, f"cells {_extent(locations, cells)}", cells, locations))
    return regions


def _extent(locations: Locations, cells: NDArray[np.intp]) -> str:
    latitude = [locations.latitude[cell] for cell in cells]
    longitude = [(locations.longitude[cell] + 180) % 360 - 180 for cell in cells]
    if max(longitude) - min(longitude) > 180:  # the block crosses the 180th meridian
        longitude = [east % 360 for east in longitude]
    return f"{_range(min(latitude), max(latitude), 'NS')}, {_range(min(longitude), max(longitude), 'EW')}"


def _range(low: float, high: float, sides: str) -> str:
    signed = (angle if angle <= 180 else angle - 360 for angle in (low, high))
    ends = [(f"{abs(angle):.4g}°", sides[0] if angle >= 0 else sides[1]) for angle in signed]
    if low == high:
        return " ".join(ends[0])
    if ends[0][1] == ends[1][1]:
        return f"{ends[0][0].removesuffix('°')} to {ends[1][0]} {ends[1][1]}"
    return f"{' '.join(ends[0])} to {' '.join(ends[1])}"


def _plane(locations: Locations) -> NDArray[np.float64]:
    """Return positions (location, 2) on a plane, in degrees of latitude; longitudes are cut opposite to their mean."""
    angles, north = np.radians(locations.longitude), np.asarray(locations.latitude)
    middle = np.angle(np.exp(1j * angles).mean())
    east = np.degrees(np.angle(np.exp(1j * (angles - middle)))) * math.cos(math.radians(float(north.mean())))
    return np.stack([east, north], axis=1)


def _halve(position: NDArray[np.float64], members: NDArray[np.intp], times: int) -> list[NDArray[np.intp]]:
    """Return clusters of equal size: the members, halved repeatedly across the longer side of their extent."""
    if times == 0 or len(members) < 2:
        return [members]
    side = int(np.argmax(np.ptp(position[members], axis=0)))
    order = members[np.argsort(position[members, side], kind="stable")]
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    return [cluster for half in halves for cluster in _halve(position, half, times - 1)]


def _cluster(number: int, members: NDArray[np.intp], locations: Locations) -> Region:
    position = _plane(locations)[members]
    central = members[np.square(position - position.mean(axis=0)).sum(axis=1).argmin()]
    return _region(number, f"{len(members)} stations around {locations.names[central]}", members, locations)


def _region(number: int, title: str, members: NDArray[np.intp], locations: Locations) -> Region:
    chosen = np.isin(np.arange(len(locations)), members)
    if len(members) > 1:
        return Region(str(number), title, chosen)
    return Region(locations.ids[members[0]], locations.names[members[0]], chosen)
