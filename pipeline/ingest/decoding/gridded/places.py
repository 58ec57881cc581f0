"""Where a file of arrays has the locations of a product: cells by their coordinates or by position, or stations."""

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
from pipeline.ingest.decoding.gridded.axes import LATITUDE, LONGITUDE, Kind, find_coordinate, match_axis, told
from pipeline.ingest.decoding.gridded.readers import load, unpacked
from pipeline.locations import Locations, coordinates

Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Places:
    """The locations that both a file and a product have, in the product's order."""

    dimensions: tuple[Hashable, ...]
    """Dimensions of the file that places run along."""
    positions: tuple[Positions, ...]
    """Which positions of each are taken, in the product's order."""
    ids: tuple[str, ...]
    codes: Positions
    """The id of each place, row by row, as its place in `ids`."""
    notes: tuple[str, ...] = ()

    @property
    def boxes(self) -> dict[Hashable, slice]:
        """The least part of each dimension that holds all the positions."""
        spans = [slice(int(taken.min()), int(taken.max()) + 1) for taken in self.positions]
        return dict(zip(self.dimensions, spans, strict=True))

    def take(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the values (time, place) of an array (time, *boxes)."""
        for axis, taken in enumerate(self.positions, start=1):
            values = _take(values, taken - taken.min(), axis)
        return values.reshape(len(values), len(self.codes))

    def matches(self, other: Places) -> bool:
        """Whether both are of the same locations."""
        return self.ids == other.ids and np.array_equal(self.codes, other.codes)


def find_places(
    array: xr.DataArray,
    dataset: xr.Dataset,
    spec: FilesSource,
    feed: Feed,
    locations: Locations,
    along: tuple[Hashable, ...],
) -> Places:
    """Return the places of a variable that the product has; `along` are its dimensions of time.

    Raises:
        ContractError: it has none of them, or does not say where it is.
    """
    if spec.grid.station:
        return _stations(array, dataset, spec)
    if spec.grid.by_position:
        return _by_position(array, spec, locations, along)
    return _cells(array, dataset, spec, feed, locations)


def _cells(array: xr.DataArray, dataset: xr.Dataset, spec: FilesSource, feed: Feed, locations: Locations) -> Places:
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
    return Places(
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
    """Return where a file has the rows, or columns, of the product's grid."""
    name = find_coordinate(dataset, wanted, kind)
    if name is None:
        known = ", ".join(map(str, dataset.variables))[:200]
        remedy = f"name it in feed.source.grid.{kind.title}, or set by_position"
        raise ContractError(f"no coordinate tells the {kind.title}; it has {known}; {remedy}")
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
    taken = places[positions]
    passed = int(taken[-1] - taken[0]) + 1 - len(taken)
    notes = (f"{passed} of the product's {axis.count} points of {kind.title} lie between those of the file",)
    return _Matched(dimension, positions, taken, notes if passed else ())


def _by_position(array: xr.DataArray, spec: FilesSource, locations: Locations, along: tuple[Hashable, ...]) -> Places:
    """Return every k-th cell of an array, the first of which is the first of the product."""
    named = [name for name in (spec.grid.latitude, spec.grid.longitude) if name in array.dims]
    free = [name for name in array.dims if name not in along]
    dimensions = tuple(named) if len(named) == 2 else tuple(free[-2:])
    if len(dimensions) != 2:
        raise ContractError(
            f"variable '{array.name}' has no two dimensions of place, it has {', '.join(map(str, array.dims))}"
        )
    taken = tuple(np.arange(0, array.sizes[name], spec.grid.every) for name in dimensions)
    shape = tuple(map(len, taken))
    if shape != locations.shape:
        size = tuple(array.sizes[name] for name in dimensions)
        thinned = f", {shape} when every {spec.grid.every}. is taken" if spec.grid.every > 1 else ""
        raise ContractError(f"variable '{array.name}' has {size} cells{thinned}, feed.locations has {locations.shape}")
    return Places(dimensions, taken, locations.ids, np.arange(len(locations.ids)))


def _stations(array: xr.DataArray, dataset: xr.Dataset, spec: FilesSource) -> Places:
    """Return the stations of a file but for the ignored ones; whether the product has them is judged with the rows."""
    dimension = spec.grid.station
    if dimension not in array.dims:
        raise ContractError(f"variable '{array.name}' has no dimension '{dimension}' of stations")
    names = [name for name, said in dataset.variables.items() if said.dims[:1] == (dimension,)]
    roles = [name for name in names if told(dataset.variables[name].attrs, "cf_role") == "timeseries_id"]
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
    return Places((dimension,), (positions,), tuple(ids), positions)


def _text(cell: object) -> str:
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace").strip()
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()


def _take(values: NDArray[Any], taken: Positions, axis: int) -> NDArray[Any]:
    """Return some positions of an axis; a view where they are evenly spaced."""
    steps = np.unique(np.diff(taken))
    if len(taken) == 1 or (len(steps) == 1 and steps[0] != 0):
        step = int(steps[0]) if len(steps) else 1
        stop = int(taken[-1]) + (1 if step > 0 else -1)
        part = slice(int(taken[0]), stop if stop >= 0 else None, step)
        return values[(slice(None),) * axis + (part,)]
    return np.take(values, taken, axis=axis)


def _ends(values: NDArray[Any]) -> str:
    if not len(values):
        return "no point"
    step = f" by {(values[-1] - values[0]) / (len(values) - 1):g}" if len(values) > 1 else ""
    return f"{values[0]:g} to {values[-1]:g}{step}"
