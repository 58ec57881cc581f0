"""GRIB by cfgrib: one data set per grid and kind of level, with columns in the order of the messages."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pipeline.errors import SourceError


def open_grib(path: Path) -> list[xr.Dataset]:
    """Return the data sets of a file, values not yet read. No index is written, and a torn message is an error.

    Raises:
        SourceError: the values run column by column, which cfgrib reads as rows.
    """
    cfgrib: Any = import_module("cfgrib")  # an optional dependency
    strict = {"indexpath": "", "errors": "raise", "squeeze": False}
    found = cfgrib.open_datasets(str(path), backend_kwargs=strict, decode_timedelta=False, cache=False)
    return [_in_order(dataset) for dataset in found]


def _in_order(dataset: xr.Dataset) -> xr.Dataset:
    """Compute longitudes from the ends given in the messages: cfgrib sorts longitudes, but not the values.

    A grid across Greenwich would be shifted, and one from east to west mirrored.
    """
    if "longitude" not in dataset.dims:
        return dataset
    for variable in dataset.data_vars.values():
        attributes = variable.attrs
        if attributes.get("GRIB_jPointsAreConsecutive"):
            raise SourceError("its values run column by column; write them row by row, e.g. by cdo or grib_set")
        ends = [attributes.get(f"GRIB_longitudeOf{end}GridPointInDegrees") for end in ("First", "Last")]
        if None in ends:
            continue
        first, last = map(float, ends)  # type: ignore[arg-type]
        west = bool(attributes.get("GRIB_iScansNegatively"))
        count = dataset.sizes["longitude"]
        way = ((first - last) if west else (last - first)) % 360 or (360.0 if count > 1 else 0.0)
        points = first + (-1 if west else 1) * np.linspace(0.0, way, count)
        return dataset.assign_coords(longitude=("longitude", points, dataset["longitude"].attrs))
    return dataset
