"""A variable of a feed in a gridded file: its times, locations, unpacked values and unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import xarray as xr
from numpy.typing import NDArray

from pipeline.config import Feed, FilesSource
from pipeline.errors import ContractError
from pipeline.ingest.decoding.gridded.axes import drop_single, select, text_attribute
from pipeline.ingest.decoding.gridded.file_locations import FileLocations, find_file_locations
from pipeline.ingest.decoding.gridded.readers import load, unpacked
from pipeline.ingest.decoding.gridded.times import REFERENCE, attribute, find_time, read_times
from pipeline.ingest.decoding.rows import suggest
from pipeline.locations import Locations
from pipeline.units import check_units, convert, convertible

_NO_UNITS = ("", "~", "-", "none", "unknown", "undefined")


@dataclass(frozen=True, slots=True)
class Field:
    """A variable of the feed as it is in a file."""

    time_name: str
    times: pa.Array
    """ValidTimes as the file has them: timestamps without a zone, text, or numbers without units."""
    reference: pa.Array | None
    """Reference time of each, UTC, if the file has it."""
    locations: FileLocations
    values: NDArray[Any]
    """Shape (time, location), in the type of the file."""
    factor: float
    """Factor to multiply the values by."""
    units: str
    """Unit of the values after multiplication."""
    notes: tuple[str, ...]


def read_field(
    datasets: Sequence[xr.Dataset], feed: Feed, spec: FilesSource, locations: Locations, variable: str
) -> Field:
    """Return a variable of the feed at the cells or stations that both the file and the product have.

    Raises:
        ContractError: the file lacks it, or has it on other dimensions, at other locations or in other units.
        SourceError: its values cannot be read.
    """
    dataset, name = _find(datasets, spec, variable, feed.variables[variable].source_name or variable)
    units, unit_notes = _units(dataset.variables[name].attrs, feed, variable, name)
    time_name = find_time(dataset, spec.grid.time)
    time = dataset.variables[time_name]
    array = select(dataset[name], dataset, spec.grid.select)
    along = tuple(dimension for dimension in time.dims if dimension in array.dims)
    if any(dimension not in along and dataset.sizes[dimension] > 1 for dimension in time.dims):
        raise ContractError(f"variable '{name}' does not run along '{time_name}'")

    where = find_file_locations(array, dataset, spec, feed, locations, along)
    array = drop_single(array, (*along, *where.dimensions), dataset).transpose(*along, *where.dimensions)
    loaded = load(unpacked(array.isel(where.slices), spec.format), spec)
    stamps, time_notes = read_times(_loaded(dataset, time_name, spec), time_name)
    reference = _reference(dataset, time, spec)
    values = where.take(loaded.reshape(len(stamps), *loaded.shape[len(along) :]))
    if values.dtype.kind not in "fiub":
        raise ContractError(f"variable '{name}' holds {values.dtype}, not numbers")
    factor = spec.grid.scale.get(name, 1.0)
    return Field(time_name, stamps, reference, where, values, factor, units, (*time_notes, *unit_notes))


def _find(datasets: Sequence[xr.Dataset], spec: FilesSource, variable: str, wanted: str) -> tuple[xr.Dataset, str]:
    """Return the data set and the name of a variable, found by its name, else by its CF or GRIB name."""
    names = [(dataset, str(name)) for dataset in datasets for name in dataset.variables]
    found = [(dataset, name) for dataset, name in names if name == wanted]
    for key in ("standard_name", "GRIB_shortName"):
        found = found or [pair for pair in names if text_attribute(pair[0].variables[pair[1]].attrs, key) == wanted]
    if len(found) > 1:  # in GRIB, the one at the selected level
        asked = spec.grid.select.keys()
        found = [(dataset, name) for dataset, name in found if asked and asked <= set(dataset[name].dims)] or found
    if len(found) == 1:
        return found[0]
    if found:
        dimensions = "; ".join(", ".join(map(str, dataset[name].dims)) for dataset, name in found)
        raise ContractError(
            f"{len(found)} variables are '{wanted}', on {dimensions[:200]}; "
            f"choose one by feed.variables.{variable}.source_name or feed.source.grid.select"
        )
    known = [name for dataset, name in names if name not in dataset.dims]
    known += [other for dataset in datasets for other in dataset.attrs.get("others", ())]
    remedy = f"name one in feed.variables.{variable}.source_name"
    raise ContractError(f"no variable '{wanted}'; {suggest(wanted, known)}it has {', '.join(known)[:200]}; {remedy}")


def _units(attributes: dict[str, Any], feed: Feed, variable: str, name: str) -> tuple[str, tuple[str, ...]]:
    """Return the unit of a variable's values, and notes; the unit of the product overrides that of the file."""
    ours, target = feed.variables[variable].source_units, feed.variable(variable).units
    found = attribute(attributes, "units")
    given = found[1] if found and found[1].lower() not in _NO_UNITS else None
    if given is None:
        return ours or target, ()
    if ours is not None:
        other = not _alike(given, ours)
        return ours, (f"{name} says its units are '{given[:40]}'; '{ours}' of the product is used",) if other else ()
    remedy = f"give them in feed.variables.{variable}.source_units"
    try:
        check_units(given)
    except ValueError:
        raise ContractError(f"variable '{name}' has units '{given[:40]}', which cannot be read; {remedy}") from None
    if not convertible(given, target):
        raise ContractError(f"variable '{name}' has units '{given[:40]}', the product keeps '{target}'; {remedy}")
    misspelt = found is not None and found[0] != "units"
    return given, (f"{name} has its units in an attribute '{found[0]}'",) if found and misspelt else ()


def _alike(one: str, other: str) -> bool:
    """Return whether two spellings mean the same unit."""
    points = np.array([0.0, 1.0])
    try:
        return one == other or bool(np.allclose(convert(points, check_units(one), other), points, rtol=1e-9, atol=1e-9))
    except ValueError:
        return False


def _reference(dataset: xr.Dataset, time: xr.Variable, spec: FilesSource) -> pa.Array | None:
    """Return the reference time of each valid time, if one coordinate has it for all of them."""
    for name, variable in dataset.variables.items():
        if text_attribute(variable.attrs, "standard_name") == REFERENCE and set(variable.dims) <= set(time.dims):
            stamps, _ = read_times(_loaded(dataset, str(name), spec), str(name))
            if pa.types.is_timestamp(stamps.type):
                made = xr.Variable(variable.dims, stamps.to_numpy(zero_copy_only=False).reshape(variable.shape))
                _, spread = xr.broadcast(xr.DataArray(time), xr.DataArray(made))
                return pa.array(spread.transpose(*time.dims).values.ravel(), pa.timestamp("us"))
    return None


def _loaded(dataset: xr.Dataset, name: str, spec: FilesSource) -> xr.Variable:
    """Return a coordinate in memory, as it is in the file."""
    array = dataset[name]
    return xr.Variable(array.dims, load(array, spec), array.attrs)
