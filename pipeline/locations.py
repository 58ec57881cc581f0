"""The locations of a feed, stations or cells of a grid: opaque ids, names for people, decimal degrees."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.config.feed import Axis, Feed, Grid, Stations
from pipeline.errors import ConfigError
from pipeline.paths import resolve

_MOST_CELLS = 10_000_000
_BELOW_360 = 360.0 - 1e-9
_SEXAGESIMAL = re.compile(
    r"^\s*(?P<d>\d{1,3})\s*[d°]\s*(?:(?P<m>\d{1,2}(?:\.\d+)?)\s*['′]\s*)?(?:(?P<s>\d{1,2}(?:\.\d+)?)\s*[\"″]\s*)?"
    r"(?P<h>[NSEW])\s*$"
)


@dataclass(frozen=True, slots=True)
class Locations:
    """Stations, or the cells of a grid row by row, in a fixed order; the arrays of a frame follow it."""

    ids: tuple[str, ...]
    names: tuple[str, ...]
    longitude: tuple[float, ...]
    """Degrees east, in [-180, 360)."""
    latitude: tuple[float, ...]
    """Degrees north."""
    shape: tuple[int, int] | None = None
    """(rows, columns) of a grid; None for stations."""
    static: tuple[str, ...] = ()
    """What else the list of stations tells of each that does not change, e.g. its altitude."""
    static_values: tuple[tuple[float, ...], ...] = ()
    """(static, location), finite, in units of their own."""

    def __len__(self) -> int:
        return len(self.ids)


def parse_angle(text: str) -> float:
    """Return decimal degrees, from text as in ``-8.25``, ``8d15'W`` or ``6d21'25.056"W``; south and west are negative.

    Raises:
        ValueError: the text is no angle.
    """
    match = _SEXAGESIMAL.match(text)
    if match is None:
        try:
            return float(text)
        except ValueError:
            raise ValueError(f"{text!r} is no coordinate; write -8.25 or 8d15'W") from None
    minutes, seconds = float(match["m"] or 0), float(match["s"] or 0)
    if minutes >= 60 or seconds >= 60:
        raise ValueError(f"{text!r} has minutes or seconds of 60 or more")
    degrees = float(match["d"]) + minutes / 60 + seconds / 3600
    return -degrees if match["h"] in "SW" else degrees


def read_locations(feed: Feed) -> Locations:
    """Return the locations of a feed: stations in the order of their file, cells row by row.

    Raises:
        ConfigError: the file is missing, lacks a column, repeats an id or holds an unreadable coordinate or number;
            the grid is not on the globe.
    """
    return _grid(feed.locations, feed) if isinstance(feed.locations, Grid) else _stations(feed.locations, feed)


def cell_ids(rows: int, columns: int) -> tuple[str, ...]:
    """Return the ids of the cells of a grid row by row, e.g. r012c003; they sort in the same order."""
    wide, high = max(3, len(str(columns - 1))), max(3, len(str(rows - 1)))
    ends = [f"c{column:0{wide}}" for column in range(columns)]
    starts = (f"r{row:0{high}}" for row in range(rows))
    return tuple(start + end for start in starts for end in ends)


def coordinates(axis: Axis) -> NDArray[np.float64]:
    """Return the coordinates of an axis, degrees."""
    points = axis.start + axis.step * np.arange(axis.count)
    return np.asarray(np.round(points, 10), np.float64)  # 0.3 instead of 0.30000000000000004


def _grid(grid: Grid, feed: Feed) -> Locations:
    cells = grid.latitude.count * grid.longitude.count
    if cells > _MOST_CELLS:
        remedy = "take a part of it, or every k-th point"
        raise ConfigError(feed.title, "feed.locations", f"{cells} cells are more than {_MOST_CELLS}", remedy)
    latitude, longitude = coordinates(grid.latitude), coordinates(grid.longitude)
    for name, points, low, high in (("latitude", latitude, -90.0, 90.0), ("longitude", longitude, -180.0, _BELOW_360)):
        ends = sorted((float(points[0]), float(points[-1])))
        if ends[0] < low or ends[1] > high:
            problem = f"it runs from {points[0]:g} to {points[-1]:g}, off the globe"
            remedy = f"stay within {low:g} and {high:g} degrees"
            raise ConfigError(feed.title, f"feed.locations.{name}", problem, remedy)
    if abs(longitude[-1] - longitude[0]) > 360 - abs(grid.longitude.step) / 2:
        problem = f"its {grid.longitude.count} columns go around more than once"
        raise ConfigError(feed.title, "feed.locations.longitude", problem, "leave out the columns that stand twice")
    return _cells(*_told(grid.latitude), *_told(grid.longitude))


def _told(axis: Axis) -> tuple[float, float, int]:
    return axis.start, axis.step, axis.count


@lru_cache(maxsize=8)  # every step of a job asks, and a million names take a while
def _cells(north: float, down: float, rows: int, west: float, right: float, columns: int) -> Locations:
    ids = cell_ids(rows, columns)
    axes = Axis(start=north, step=down, count=rows), Axis(start=west, step=right, count=columns)
    latitude, longitude = np.meshgrid(*map(coordinates, axes), indexing="ij")
    return Locations(ids, ids, tuple(longitude.ravel().tolist()), tuple(latitude.ravel().tolist()), (rows, columns))


def _stations(spec: Stations, feed: Feed) -> Locations:
    path = resolve(str(spec.path), feed.folder, extra=feed.source.needs)
    if not path.is_file():
        raise ConfigError(str(path), "", "no such file", "feed.locations.path names the CSV file of the stations")
    table = _read(path)
    for column in (spec.id, spec.name, spec.longitude, spec.latitude, *spec.static):
        if column not in table.columns:
            raise ConfigError(str(path), column, "no such column", f"it has {', '.join(table.columns)}")
    ids = table[spec.id]
    if ids.duplicated().any():
        raise ConfigError(str(path), spec.id, f"'{ids[ids.duplicated()].iloc[0]}' stands twice", "ids are unique")
    if (ids == "").any():
        raise ConfigError(str(path), spec.id, "a station has no id", "give it the one that observations use")
    if table.empty:
        raise ConfigError(str(path), "", "no station", "list at least one")
    return Locations(
        ids=tuple(ids),
        names=tuple(table[spec.name]),
        longitude=_angles(path, table, spec.longitude, spec.id, "longitude"),
        latitude=_angles(path, table, spec.latitude, spec.id, "latitude"),
        static=spec.static,
        static_values=tuple(_numbers(path, table, column, spec.id) for column in spec.static),
    )


def _read(path: Path) -> pd.DataFrame:
    remedy = "write one line a station, in UTF-8, with as many cells as the header"
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), "", f"not a readable CSV file, {str(error).strip()}", remedy) from None
    if not isinstance(table.index, pd.RangeIndex):  # pandas would shift the columns
        raise ConfigError(str(path), "", "not a readable CSV file, it has more cells than its header", remedy)
    return table


def _numbers(path: Path, table: pd.DataFrame, column: str, key: str) -> tuple[float, ...]:
    numbers = []
    for station, text in zip(table[key], table[column], strict=True):
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            problem = f"{text!r} is no number" if text.strip() else "no value"
            remedy = "write a number for each station, or take the column out of feed.locations.static"
            raise ConfigError(str(path), f"{station}.{column}", problem, remedy)
        numbers.append(number)
    return tuple(numbers)


def _angles(
    path: Path, table: pd.DataFrame, column: str, key: str, kind: Literal["longitude", "latitude"]
) -> tuple[float, ...]:
    low, high, sides = (-180.0, 360.0, "NS") if kind == "longitude" else (-90.0, 90.0, "EW")
    angles = []
    for station, text in zip(table[key], table[column], strict=True):
        try:
            angle = parse_angle(text)
        except ValueError as error:
            raise ConfigError(str(path), f"{station}.{column}", str(error)) from None
        if text.strip().endswith(tuple(sides)):
            raise ConfigError(str(path), f"{station}.{column}", f"{text!r} is no {kind}", "swap the two columns")
        if not low <= angle <= high or angle == 360.0:
            remedy = f"write {low:g} to {high:g} degrees"
            raise ConfigError(str(path), f"{station}.{column}", f"{angle} is off the globe", remedy)
        angles.append(angle)
    return tuple(angles)
