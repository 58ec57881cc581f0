"""The locations of a feed: stations, or the cells of a grid, with their ids, names and coordinates."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.config.feed import Axis, Feed, Grid, Stations
from pipeline.errors import ConfigError
from pipeline.paths import resolve

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MAX_CELLS = 10_000_000
_BELOW_360 = 360.0 - 1e-9
_SEXAGESIMAL = re.compile(
    r"^\s*(?P<d>\d{1,3})\s*[d°]\s*(?:(?P<m>\d{1,2}(?:\.\d+)?)\s*['′]\s*)?(?:(?P<s>\d{1,2}(?:\.\d+)?)\s*[\"″]\s*)?"
    r"(?P<h>[NSEW])\s*$"
)

Table = dict[str, list[str]]
"""Cells of a CSV file by column."""


@dataclass(frozen=True, slots=True)
class Locations:
    """Stations, or the cells of a grid row by row, in a fixed order that the arrays of a frame share."""

    ids: tuple[str, ...]
    names: tuple[str, ...]
    longitude: tuple[float, ...]
    """Degrees east, in [-180, 360)."""
    latitude: tuple[float, ...]
    """Degrees north."""
    shape: tuple[int, int] | None = None
    """(rows, columns) of a grid; None for stations."""
    static: tuple[str, ...] = ()
    """Names of the static predictors, e.g. altitude."""
    static_values: tuple[tuple[float, ...], ...] = ()
    """Static predictors, shape (static, location), finite, in the units of the station list."""

    def __len__(self) -> int:
        return len(self.ids)


def parse_angle(text: str) -> float:
    """Return decimal degrees, from text as in ``-8.25``, ``8d15'W`` or ``6d21'25.056"W``; south and west are negative.

    Raises:
        ValueError: the text is not an angle.
    """
    match = _SEXAGESIMAL.match(text)
    if match is None:
        try:
            return float(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a coordinate; write -8.25 or 8d15'W") from None
    minutes, seconds = float(match["m"] or 0), float(match["s"] or 0)
    if minutes >= 60 or seconds >= 60:
        raise ValueError(f"{text!r} has minutes or seconds of 60 or more")
    degrees = float(match["d"]) + minutes / 60 + seconds / 3600
    return -degrees if match["h"] in "SW" else degrees


def read_locations(feed: Feed) -> Locations:
    """Return the locations of a feed: stations in the order of their file, grid cells row by row.

    Raises:
        ConfigError: the station list is missing, lacks a column, repeats an id or contains an invalid coordinate or
            number; or the grid extends beyond the globe.
    """
    return _grid(feed.locations, feed) if isinstance(feed.locations, Grid) else _stations(feed.locations, feed)


def cell_ids(rows: int, columns: int) -> tuple[str, ...]:
    """Return the ids of grid cells row by row, e.g. r012c003; sorting them keeps the order."""
    wide, high = max(3, len(str(columns - 1))), max(3, len(str(rows - 1)))
    ends = [f"c{column:0{wide}}" for column in range(columns)]
    starts = (f"r{row:0{high}}" for row in range(rows))
    return tuple(start + end for start in starts for end in ends)


def coordinates(axis: Axis) -> NDArray[np.float64]:
    """Return the coordinates of an axis, degrees."""
    import numpy as np

    points = axis.start + axis.step * np.arange(axis.count)
    return np.asarray(np.round(points, 10), np.float64)  # 0.3 instead of 0.30000000000000004


def _grid(grid: Grid, feed: Feed) -> Locations:
    cells = grid.latitude.count * grid.longitude.count
    if cells > _MAX_CELLS:
        remedy = "use part of the grid, or every n-th cell"
        raise ConfigError(feed.title, "feed.locations", f"{cells} cells exceed the limit of {_MAX_CELLS}", remedy)
    latitude, longitude = coordinates(grid.latitude), coordinates(grid.longitude)
    for name, points, low, high in (("latitude", latitude, -90.0, 90.0), ("longitude", longitude, -180.0, _BELOW_360)):
        ends = sorted((float(points[0]), float(points[-1])))
        if ends[0] < low or ends[1] > high:
            problem = f"it runs from {points[0]:g} to {points[-1]:g}, which is off the globe"
            remedy = f"stay within {low:g} and {high:g} degrees"
            raise ConfigError(feed.title, f"feed.locations.{name}", problem, remedy)
    if abs(longitude[-1] - longitude[0]) > 360 - abs(grid.longitude.step) / 2:
        problem = f"its {grid.longitude.count} columns go around the globe more than once"
        raise ConfigError(feed.title, "feed.locations.longitude", problem, "leave out the repeated columns")
    return _cells(grid.latitude, grid.longitude)


@lru_cache(maxsize=8)  # the reader process asks once per file, and a million names take a while
def _cells(rows: Axis, columns: Axis) -> Locations:
    import numpy as np

    ids = cell_ids(rows.count, columns.count)
    latitude, longitude = (mesh.ravel() for mesh in np.meshgrid(coordinates(rows), coordinates(columns), indexing="ij"))
    shape = rows.count, columns.count
    return Locations(ids, ids, tuple(longitude.tolist()), tuple(latitude.tolist()), shape)


def _stations(spec: Stations, feed: Feed) -> Locations:
    path = resolve(str(spec.path), feed.folder, extra=feed.source.needs)
    if not path.is_file():
        raise ConfigError(str(path), "", "no such file", "feed.locations.path names the CSV file of the stations")
    table = _read(path)
    has_names = spec.name in table or spec.name != Stations.model_fields["name"].default
    columns = [("id", spec.id), ("longitude", spec.longitude), ("latitude", spec.latitude)]
    columns += [("name", spec.name)] * has_names + [("static", column) for column in spec.static]
    for field, column in columns:
        if column not in table:
            remedy = f"feed.locations.{field} names the column; the file has {', '.join(table)}"
            raise ConfigError(str(path), column, "no such column", remedy)
    ids = table[spec.id]
    if not ids:
        raise ConfigError(str(path), "", "the file lists no stations", "list at least one")
    if len(set(ids)) < len(ids):
        repeated = next(name for position, name in enumerate(ids) if name in ids[:position])
        raise ConfigError(str(path), spec.id, f"'{repeated}' occurs twice", "use each id once")
    if "" in ids:
        raise ConfigError(str(path), spec.id, "a station has no id", "use the id that the observations have")
    return Locations(
        ids=tuple(ids),
        names=tuple(table[spec.name if has_names else spec.id]),
        longitude=_angles(path, ids, table[spec.longitude], spec.longitude, "longitude"),
        latitude=_angles(path, ids, table[spec.latitude], spec.latitude, "latitude"),
        static=spec.static,
        static_values=tuple(_numbers(path, ids, table[column], column) for column in spec.static),
    )


def _read(path: Path) -> Table:
    remedy = "write one row per station, in UTF-8, with as many cells as the header"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = [row for row in csv.reader(file, strict=True) if row] or [[]]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ConfigError(str(path), "", f"not a readable CSV file, {error}", remedy) from None
    if not header:
        raise ConfigError(str(path), "", "not a readable CSV file, it is empty", remedy)
    if any(len(row) > len(header) for row in rows):
        raise ConfigError(str(path), "", "not a readable CSV file, a row has more cells than the header", remedy)
    return {
        name: [row[position] if position < len(row) else "" for row in rows] for position, name in enumerate(header)
    }


def _numbers(path: Path, ids: Sequence[str], cells: Sequence[str], column: str) -> tuple[float, ...]:
    numbers = []
    for station, text in zip(ids, cells, strict=True):
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            problem = f"{text!r} is not a number" if text.strip() else "no value"
            remedy = "write a number for each station, or remove the column from feed.locations.static"
            raise ConfigError(str(path), f"{station}.{column}", problem, remedy)
        numbers.append(number)
    return tuple(numbers)


def _angles(
    path: Path, ids: Sequence[str], cells: Sequence[str], column: str, kind: Literal["longitude", "latitude"]
) -> tuple[float, ...]:
    low, high, other_sides = (-180.0, 360.0, "NS") if kind == "longitude" else (-90.0, 90.0, "EW")
    angles = []
    for station, text in zip(ids, cells, strict=True):
        try:
            angle = parse_angle(text)
        except ValueError as error:
            raise ConfigError(str(path), f"{station}.{column}", str(error)) from None
        if text.strip().endswith(tuple(other_sides)):
            raise ConfigError(str(path), f"{station}.{column}", f"{text!r} is not a {kind}", "swap the two columns")
        if not low <= angle <= high or angle == 360.0:
            remedy = f"write {low:g} to {high:g} degrees"
            raise ConfigError(str(path), f"{station}.{column}", f"{angle} is off the globe", remedy)
        angles.append(angle)
    return tuple(angles)
