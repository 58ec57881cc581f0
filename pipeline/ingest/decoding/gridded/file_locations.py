"""The locations of a product in a gridded file: cells by coordinates or by position, or stations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.config import Feed, FilesSource, Grid
from pipeline.config.feed import Axis
from pipeline.errors import ContractError
from pipeline.ingest.decoding.gridded.axes import LATITUDE, LONGITUDE, Kind, find_coordinate, match_axis, text_attribute
from pipeline.ingest.decoding.gridded.readers import load, unpacked
from pipeline.locations import Locations, coordinates

Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FileLocations:
    """The locations that both a file and the product have, in the order of the product."""

    dimensions: tuple[Hashable, ...]
    """Dimensions of the file that locations vary along."""
    positions: tuple[Positions, ...]
    """Positions to read along each of them, in the order of the product."""
    ids: tuple[str, ...]
    codes: Positions
    """Index in `ids` of each location, row by row."""
    notes: tuple[str, ...] = ()

    @property
    def slices(self) -> dict[Hashable, slice]:
        """The smallest slice of each dimension that holds all the positions."""
        spans = [slice(int(positions.min()), int(positions.max()) + 1) for positions in self.positions]
        return dict(zip(self.dimensions, spans, strict=True))

    def take(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the values (time, location) of an array (time, *slices)."""
        for axis, positions in enumerate(self.positions, start=1):
            values = _take(values, positions - positions.min(), axis)
        return values.reshape(len(values), len(self.codes))

    def matches(self, other: FileLocations) -> bool:
        """Return whether both have the same locations."""
        return self.ids == other.ids and np.array_equal(self.codes, other.codes)


def find_file_locations(
    array: xr.DataArray,
    dataset: xr.Dataset,
    spec: FilesSource,
    feed: Feed,
    locations: Locations,
    along: tuple[Hashable, ...],
) -> FileLocations:
    """Return the locations of the product in a variable whose time dimensions are `along`.

    Raises:
        ContractError: it has none of them, or lacks coordinates.
    """
    if spec.grid.station:
        return _stations(array, dataset, spec)
    if spec.grid.by_position:
        return _by_position(array, spec, locations, along)
    return _cells(array, dataset, spec, feed, locations)


def _cells(
    array: xr.DataArray, dataset: xr.Dataset, spec: FilesSource, feed: Feed, locations: Locations
) -> FileLocations:
    grid = feed.locations
    assert isinstance(grid, Grid)  # noqa: S101 - the reader was refused otherwise
    rows = _matched(array, dataset, spec, spec.grid.latitude, LATITUDE, grid.latitude)
    columns = _matched(array, dataset, spec, spec.grid.longitude, LONGITUDE, grid.longitude)
    if rows.dimension == columns.dimension:
        raise ContractError(
            f"latitude and longitude both run along '{rows.dimension}': these are series; "
            "name that dimension in feed.source.grid.station"
        )
    codes = (rows.places[:, np.newaxis] * grid.longitude.count + columns.places).ravel()
    return FileLocations(
        (rows.dimension, columns.dimension),
        (rows.positions, columns.positions),
        locations.ids,
        codes,
        (*rows.notes, *columns.notes),
    )


@dataclass(frozen=True, slots=True)
class _Matched:
    dimension: Hashable
    positions: Positions
    places: Positions
    notes: tuple[str, ...]


def _matched(
    array: xr.DataArray, dataset: xr.Dataset, spec: FilesSource, wanted: str, kind: Kind, axis: Axis
) -> _Matched:
    """Return the positions of the rows, or columns, of the product's grid in a file."""
    name = find_coordinate(dataset, wanted, kind)
    if name is None:
        known = ", ".join(map(str, dataset.variables))[:200]
        remedy = f"name it in feed.source.grid.{kind.title}, or set by_position"
        raise ContractError(f"no coordinate has the {kind.title}; the file has {known}; {remedy}")
    variable = dataset.variables[name]
    if variable.ndim != 1:
        raise ContractError(
            f"{kind.title} '{name}' has {variable.ndim} dimensions, not one: the grid is not regular in degrees"
        )
    (dimension,) = variable.dims
    if dimension not in array.dims:
        raise ContractError(f"variable '{array.name}' does not run along {kind.title} '{name}'")
    found = load(unpacked(dataset[name], spec.format), spec)
    if found.dtype.kind not in "fiu":
        raise ContractError(f"{kind.title} '{name}' holds {found.dtype}, not degrees")
    places = match_axis(found, axis, around=kind is LONGITUDE)
    positions = np.flatnonzero(places >= 0)
    if not len(positions):
        theirs, ours = _ends(found), _ends(coordinates(axis))
        raise ContractError(f"{kind.title} '{name}' has {theirs}, feed.locations has {ours}: none in common")
    positions = positions[np.argsort(places[positions])]
    chosen = places[positions]
    skipped = int(chosen[-1] - chosen[0]) + 1 - len(chosen)
    notes = (f"{skipped} of the product's {axis.count} points of {kind.title} lie between those of the file",)
    return _Matched(dimension, positions, chosen, notes if skipped else ())


def _by_position(
    array: xr.DataArray, spec: FilesSource, locations: Locations, along: tuple[Hashable, ...]
) -> FileLocations:
    """Return every k-th cell of an array, from the first cell of the product."""
    named = [name for name in (spec.grid.latitude, spec.grid.longitude) if name in array.dims]
    free = [name for name in array.dims if name not in along]
    dimensions = tuple(named) if len(named) == 2 else tuple(free[-2:])
    if len(dimensions) != 2:
        raise ContractError(
            f"variable '{array.name}' lacks two dimensions of location; it has {', '.join(map(str, array.dims))}"
        )
    chosen = tuple(np.arange(0, array.sizes[name], spec.grid.every) for name in dimensions)
    shape = tuple(map(len, chosen))
    if shape != locations.shape:
        size = tuple(array.sizes[name] for name in dimensions)
        downsampled = f", {shape} with every {spec.grid.every}. cell" if spec.grid.every > 1 else ""
        raise ContractError(
            f"variable '{array.name}' has {size} cells{downsampled}, feed.locations has {locations.shape}"
        )
    return FileLocations(dimensions, chosen, locations.ids, np.arange(len(locations.ids)))


def _stations(array: xr.DataArray, dataset: xr.Dataset, spec: FilesSource) -> FileLocations:
    """Return the stations of a file without the ignored ones; unknown ones are refused later, row by row."""
    dimension = spec.grid.station
    if dimension not in array.dims:
        raise ContractError(f"variable '{array.name}' has no dimension '{dimension}' of stations")
    names = [name for name, variable in dataset.variables.items() if variable.dims[:1] == (dimension,)]
    roles = [name for name in names if text_attribute(dataset.variables[name].attrs, "cf_role") == "timeseries_id"]
    name = roles[0] if len(roles) == 1 else dimension
    if name not in names:
        raise ContractError(f"dimension '{dimension}' has no coordinate of its name, or with cf_role timeseries_id")
    ids = [_text(cell) for cell in load(unpacked(dataset[name], spec.format), spec).ravel().tolist()]
    for text, count in Counter(ids).items():
        if count > 1:
            raise ContractError(f"{count} stations are called '{text}'")
    positions = np.array([at for at, text in enumerate(ids) if text not in spec.ignore], np.int64)
    if not len(positions):
        raise ContractError(f"dimension '{dimension}' has no station")
    return FileLocations((dimension,), (positions,), tuple(ids), positions)


def _text(cell: object) -> str:
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace").strip()
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()


def _take(values: NDArray[Any], chosen: Positions, axis: int) -> NDArray[Any]:
    """Return some positions of an axis; a view if they are evenly spaced."""
    steps = np.unique(np.diff(chosen))
    if len(chosen) == 1 or (len(steps) == 1 and steps[0] != 0):
        step = int(steps[0]) if len(steps) else 1
        stop = int(chosen[-1]) + (1 if step > 0 else -1)
        part = slice(int(chosen[0]), stop if stop >= 0 else None, step)
        return values[(slice(None),) * axis + (part,)]
    return np.take(values, chosen, axis=axis)


def _ends(values: NDArray[Any]) -> str:
    if not len(values):
        return "no point"
    step = f" by {(values[-1] - values[0]) / (len(values) - 1):g}" if len(values) > 1 else ""
    return f"{values[0]:g} to {values[-1]:g}{step}"
