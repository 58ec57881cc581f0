"""Coordinates of a gridded file: found by the CF conventions, and matched by value to the axes of a product's grid."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.config.feed import Axis
from pipeline.errors import ContractError

TOLERANCE = 0.01
"""How far a coordinate of a file may lie from that of the product, in steps of the grid."""

_ROUNDING = 0.4  # in steps: beyond it a coordinate could belong to either neighbour


@dataclass(frozen=True, slots=True)
class Kind:
    """How the CF conventions identify coordinates of one kind."""

    title: str
    aliases: tuple[str, ...]
    standard_name: str
    axis: str
    units: tuple[str, ...] = ()


TIME: Final = Kind("time", (), "time", "T")
LATITUDE: Final = Kind(
    "latitude", ("lat", "latitude"), "latitude", "Y", ("degrees_north", "degree_north", "degrees_n", "degree_n")
)
LONGITUDE: Final = Kind(
    "longitude", ("lon", "longitude"), "longitude", "X", ("degrees_east", "degree_east", "degrees_e")
)


def find_coordinate(dataset: xr.Dataset, wanted: str, kind: Kind) -> str | None:
    """Return the name of a coordinate: the wanted one, or the only one that the CF conventions identify."""
    names = {str(name): variable for name, variable in dataset.variables.items()}
    if wanted in names:
        return wanted
    for test in (_by_alias, _by_standard_name, _by_units, _by_axis):
        found = [name for name, variable in names.items() if test(name, variable.attrs, kind)]
        if len(found) == 1:
            return found[0]
    return None


def text_attribute(attributes: dict[Any, Any], name: str) -> str:
    """Return a text attribute; empty if it is missing or not text."""
    value = attributes.get(name)
    return value if isinstance(value, str) else ""


def match_axis(found: NDArray[Any], axis: Axis, *, around: bool) -> NDArray[np.int64]:
    """Return the index of each coordinate on a product's axis; -1 for a coordinate between its points.

    Args:
        found: coordinates of a file, degrees.
        axis: axis of the product.
        around: whether the axis is cyclic, as longitudes are.
    """
    steps = (found.astype(np.float64) - axis.start) / axis.step
    if around:
        turn = 360.0 / abs(axis.step)
        steps = np.mod(steps, turn)
        steps = np.where(steps > turn - 0.5, steps - turn, steps)
    nearest = np.rint(steps)
    with np.errstate(invalid="ignore"):
        good = (np.abs(steps - nearest) <= _tolerance(found, axis)) & (nearest >= 0) & (nearest < axis.count)
        places = np.where(good, nearest, -1).astype(np.int64)
    first = np.zeros(len(places), np.bool_)  # a column may occur twice, at 0 and at 360
    first[np.unique(places, return_index=True)[1]] = True
    return np.where(first, places, -1)


def select(array: xr.DataArray, dataset: xr.Dataset, wanted: dict[str, int | float | str]) -> xr.DataArray:
    """Return an array at one value of each named dimension, by coordinate or else by index.

    Raises:
        ContractError: a dimension or a value is missing.
    """
    for name, value in wanted.items():
        if name not in array.dims:
            given = dataset.variables.get(name)
            if given is None or given.ndim or not _same(given.values.reshape(1), value)[0]:
                raise ContractError(f"variable '{array.name}' has no dimension '{name}' to select {value} of")
            continue
        points = dataset.variables[name].values if name in dataset.variables else np.arange(array.sizes[name])
        (places,) = np.nonzero(_same(points, value))
        if len(places) != 1:
            raise ContractError(f"dimension '{name}' has no {value}; it has {_shown(points)}")
        array = array.isel({name: int(places[0])})
    return array


def drop_single(array: xr.DataArray, keep: tuple[Hashable, ...], dataset: xr.Dataset) -> xr.DataArray:
    """Return an array without its dimensions of length 1, except those to keep.

    Raises:
        ContractError: another dimension is longer.
    """
    for name in [name for name in array.dims if name not in keep]:
        if array.sizes[name] != 1:
            points = dataset.variables[name].values if name in dataset.variables else np.arange(array.sizes[name])
            raise ContractError(
                f"variable '{array.name}' has a dimension '{name}' of {array.sizes[name]}; "
                f"name one of {_shown(points)} in feed.source.grid.select"
            )
        array = array.isel({name: 0})
    return array


def _by_alias(name: str, attributes: dict[str, Any], kind: Kind) -> bool:
    return name.lower() in kind.aliases


def _by_standard_name(name: str, attributes: dict[str, Any], kind: Kind) -> bool:
    return text_attribute(attributes, "standard_name") == kind.standard_name


def _by_units(name: str, attributes: dict[str, Any], kind: Kind) -> bool:
    return text_attribute(attributes, "units").lower() in kind.units


def _by_axis(name: str, attributes: dict[str, Any], kind: Kind) -> bool:
    return text_attribute(attributes, "axis") == kind.axis and "standard_name" not in attributes


def _tolerance(found: NDArray[Any], axis: Axis) -> float:
    """Return how far coordinates may be off, in steps; the rounding of single precision is allowed for."""
    if found.dtype.kind != "f" or not len(found):
        return TOLERANCE
    largest = np.abs(np.nan_to_num(found, posinf=0, neginf=0)).max()
    return min(max(TOLERANCE, 2 * float(np.spacing(largest)) / abs(axis.step)), _ROUNDING)


def _same(points: NDArray[Any], value: float | str) -> NDArray[np.bool_]:
    if isinstance(value, str):
        return np.asarray([str(point) == value for point in points.tolist()], np.bool_)
    if points.dtype.kind not in "fiu":
        return np.zeros(len(points), np.bool_)
    return np.isclose(points.astype(np.float64), value, rtol=1e-6, atol=1e-9)


def _shown(points: NDArray[Any]) -> str:
    shown = ", ".join(str(point) for point in points[:8].tolist())
    return f"{shown} ..." if len(points) > 8 else shown
