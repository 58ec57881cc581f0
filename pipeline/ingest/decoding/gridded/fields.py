"""The variable of a feed in a file: found by name, its times and places named, its numbers unpacked, its unit known."""

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
from pipeline.ingest.decoding.gridded.axes import drop_single, select, told
from pipeline.ingest.decoding.gridded.places import Places, find_places
from pipeline.ingest.decoding.gridded.readers import load, unpacked
from pipeline.ingest.decoding.gridded.times import REFERENCE, attribute, find_time, read_times
from pipeline.ingest.decoding.rows import near
from pipeline.locations import Locations
from pipeline.units import check_units, convert, convertible

_NO_UNITS = ("", "~", "-", "none", "unknown", "undefined")


@dataclass(frozen=True, slots=True)
class Field:
    """A variable of the feed as a file holds it."""

    time_name: str
    times: pa.Array
    """Stamps as the file has them: timestamps without a zone, text, or numbers without units."""
    reference: pa.Array | None
    """When each was forecast, in UTC, where the file says so."""
    places: Places
    values: NDArray[Any]
    """(time, place), of the type that the file has."""
    factor: float
    """What the values are to be multiplied by."""
    units: str
    """Unit of the values, once multiplied."""
    notes: tuple[str, ...]


def read_field(
    datasets: Sequence[xr.Dataset], feed: Feed, spec: FilesSource, locations: Locations, variable: str
) -> Field:
    """Return a variable of the feed at the cells or stations that both the file and the product have.

    Raises:
        ContractError: the file does not have it, or on other dimensions, at other places or in other units.
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

    places = find_places(array, dataset, spec, feed, locations, along)
    array = drop_single(array, (*along, *places.dimensions), dataset).transpose(*along, *places.dimensions)
    loaded = load(unpacked(array.isel(places.boxes), spec.format), spec)
    stamps, time_notes = read_times(_loaded(dataset, time_name, spec), time_name)
    reference = _reference(dataset, time, spec)
    values = places.take(loaded.reshape(len(stamps), *loaded.shape[len(along) :]))
    if values.dtype.kind not in "fiub":
        raise ContractError(f"variable '{name}' holds {values.dtype}, not numbers")
    factor = spec.grid.scale.get(name, 1.0)
    return Field(time_name, stamps, reference, places, values, factor, units, (*time_notes, *unit_notes))


def _find(datasets: Sequence[xr.Dataset], spec: FilesSource, variable: str, wanted: str) -> tuple[xr.Dataset, str]:
    """Return the data set and the name of a variable: by its own name, else by its CF or GRIB one."""
    names = [(dataset, str(name)) for dataset in datasets for name in dataset.variables]
    found = [(dataset, name) for dataset, name in names if name == wanted]
    for key in ("standard_name", "GRIB_shortName"):
        found = found or [pair for pair in names if told(pair[0].variables[pair[1]].attrs, key) == wanted]
    if len(found) > 1:  # in GRIB, that of the level that is selected
        asked = spec.grid.select.keys()
        found = [(dataset, name) for dataset, name in found if asked and asked <= set(dataset[name].dims)] or found
    if len(found) == 1:
        return found[0]
    if found:
        dimensions = "; ".join(", ".join(map(str, dataset[name].dims)) for dataset, name in found)
        raise ContractError(
            f"{len(found)} variables are '{wanted}', on {dimensions[:200]}; "
            f"tell them apart by feed.variables.{variable}.source_name or feed.source.grid.select"
        )
    known = [name for dataset, name in names if name not in dataset.dims]
    known += [other for dataset in datasets for other in dataset.attrs.get("others", ())]
    remedy = f"name one in feed.variables.{variable}.source_name"
    raise ContractError(f"no variable '{wanted}'; {near(wanted, known)}it has {', '.join(known)[:200]}; {remedy}")


def _units(attributes: dict[str, Any], feed: Feed, variable: str, name: str) -> tuple[str, tuple[str, ...]]:
    """Return the unit of a variable's values, and what was odd about it; the product's word stands over the file's."""
    ours, target = feed.variables[variable].source_units, feed.variable(variable)[0]
    found = attribute(attributes, "units")
    said = found[1] if found and found[1].lower() not in _NO_UNITS else None
    if said is None:
        return ours or target, ()
    if ours is not None:
        other = not _alike(said, ours)
        return ours, (f"{name} says its units are '{said[:40]}'; '{ours}' of the product was taken",) if other else ()
    remedy = f"say which they are in feed.variables.{variable}.source_units"
    try:
        check_units(said)
    except ValueError:
        raise ContractError(f"variable '{name}' has units '{said[:40]}', which cannot be read; {remedy}") from None
    if not convertible(said, target):
        raise ContractError(f"variable '{name}' has units '{said[:40]}', the product keeps '{target}'; {remedy}")
    misspelt = found is not None and found[0] != "units"
    return said, (f"{name} has its units in an attribute '{found[0]}'",) if found and misspelt else ()


def _alike(one: str, other: str) -> bool:
    """Whether two spellings are of one unit."""
    points = np.array([0.0, 1.0])
    try:
        return one == other or bool(np.allclose(convert(points, check_units(one), other), points, rtol=1e-9, atol=1e-9))
    except ValueError:
        return False


def _reference(dataset: xr.Dataset, time: xr.Variable, spec: FilesSource) -> pa.Array | None:
    """Return when each stamp was forecast, where one coordinate says so for all of them."""
    for name, variable in dataset.variables.items():
        if told(variable.attrs, "standard_name") == REFERENCE and set(variable.dims) <= set(time.dims):
            stamps, _ = read_times(_loaded(dataset, str(name), spec), str(name))
            if pa.types.is_timestamp(stamps.type):
                made = xr.Variable(variable.dims, stamps.to_numpy(zero_copy_only=False).reshape(variable.shape))
                _, spread = xr.broadcast(xr.DataArray(time), xr.DataArray(made))
                return pa.array(spread.transpose(*time.dims).values.ravel(), pa.timestamp("us"))
    return None


def _loaded(dataset: xr.Dataset, name: str, spec: FilesSource) -> xr.Variable:
    """Return a coordinate in memory, as the file has it."""
    array = dataset[name]
    return xr.Variable(array.dims, load(array, spec), array.attrs)
