"""Gridded files opened by their format as xarray data sets, not yet decoded by the CF conventions."""

from __future__ import annotations

import io
import json
import math
import re
import tempfile
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.config import FilesSource
from pipeline.errors import NightcastError, SourceError, first_line
from pipeline.ingest.decoding.gridded.grib import open_grib
from pipeline.ingest.decoding.gridded.npz import open_npz

_ZARR_METADATA = ("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata")
_PRIVATE = re.compile(r":? '[^']*(payload\.grib|<xarray-in-memory-read>)'")  # internal names
_RAW: dict[str, Any] = {"decode_cf": False, "cache": False, "create_default_indexes": False}


@contextmanager
def open_arrays(
    content: bytes, spec: FilesSource, variables: Iterable[str], coordinates: Iterable[str]
) -> Iterator[list[xr.Dataset]]:
    """Open the bytes of a netcdf, zarr, grib or npz file; values are read within the context, by `load`.

    There is one data set, except for GRIB, whose messages may belong to several grids or levels. `variables` and
    `coordinates` matter for npz only. No code in a file is run, and temporary files are removed.

    Raises:
        SourceError: the file is damaged, in another format, or takes more than `max_bytes` unpacked.
    """
    if spec.format == "grib":
        with tempfile.TemporaryDirectory(prefix="nightcast-") as folder:  # ecCodes reads files
            path = Path(folder) / "payload.grib"
            path.write_bytes(content)
            with readable(spec.format):
                opened = open_grib(path)
            yield opened
        return
    with readable(spec.format):
        if spec.format == "netcdf":
            opened = [_filled(_netcdf(content, spec.max_bytes))]
        elif spec.format == "zarr":
            opened = [_zarr(content, spec.max_bytes)]
        else:
            opened = [open_npz(content, variables, list(coordinates), spec.max_bytes)]
    try:
        yield opened
    finally:
        for dataset in opened:
            dataset.close()


def load(array: xr.DataArray, spec: FilesSource) -> NDArray[Any]:
    """Return the values of an array.

    Raises:
        SourceError: they take more than `max_bytes`, or are damaged.
    """
    if array.nbytes > spec.max_bytes:
        limit = f"more than feed.source.max_bytes, {spec.max_bytes}"
        raise SourceError(f"variable '{array.name}' takes {array.nbytes} bytes, {limit}")
    with readable(spec.format):
        return np.asarray(array.values)


def unpacked(array: xr.DataArray, form: str) -> xr.DataArray:
    """Return an array with scale, offset and fill values applied."""
    with readable(form):
        dataset = xr.Dataset({"array": array.variable})
        decoded = xr.decode_cf(dataset, decode_times=False, decode_timedelta=False, decode_coords=False)
    return decoded["array"].rename(array.name)


@contextmanager
def readable(form: str) -> Iterator[None]:
    """Turn any error of a library on damaged bytes into a SourceError of one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # libraries warn of oddities; what matters is checked here
            yield
    except (NightcastError, MemoryError):
        raise
    except Exception as error:  # damaged bytes raise anything: KeyError, struct.error, RuntimeError ...
        text = _PRIVATE.sub("", first_line(error))
        raise SourceError(f"not readable as {form}, {text[:200]}") from error


def _netcdf(content: bytes, max_bytes: int) -> xr.Dataset:
    """Open a file by its first bytes: the classic format by SciPy, as the C library crashes on damaged headers."""
    if content.startswith((b"CDF\x01", b"CDF\x02")):
        return xr.open_dataset(io.BytesIO(content), engine="scipy", **_RAW)
    return _in_small_chunks(xr.open_dataset(content, engine="netcdf4", **_RAW), max_bytes)


def _in_small_chunks(dataset: xr.Dataset, max_bytes: int) -> xr.Dataset:
    """Return a data set; SourceError where a chunk, which is unpacked whole, is too large, whatever its array."""
    for name, variable in dataset.variables.items():
        for key in ("chunks", "shards", "chunksizes"):
            size = math.prod(variable.encoding.get(key) or ()) * variable.dtype.itemsize
            if size > max_bytes:
                dataset.close()
                limit = f"more than feed.source.max_bytes, {max_bytes}"
                raise SourceError(f"a chunk of variable '{name}' takes {size} bytes, {limit}")
    return dataset


def _filled(dataset: xr.Dataset) -> xr.Dataset:
    """Add the default fill value of netCDF, which cells that were never written hold, where a file names none."""
    for variable in dataset.variables.values():
        default = netCDF4.default_fillvals.get(variable.dtype.str[1:])
        named = variable.attrs.keys() & {"_FillValue", "missing_value"}
        if variable.dtype.kind in "fiu" and variable.dtype.itemsize > 1 and default is not None and not named:
            variable.attrs["_FillValue"] = variable.dtype.type(default)
    return dataset


def _zarr(content: bytes, max_bytes: int) -> xr.Dataset:
    """Open a zip of the files of a Zarr folder, or of the folder itself."""
    from zarr.buffer import default_buffer_prototype  # slow to import
    from zarr.storage import MemoryStore

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        infos = {info.filename: info for info in archive.infolist() if not info.is_dir()}
        size = sum(info.file_size for info in infos.values())
        if size > max_bytes:
            raise SourceError(f"its files take {size} bytes, more than feed.source.max_bytes, {max_bytes}")
        files = {name: archive.read(info) for name, info in infos.items()}
    roots = [name for name in files if name.rpartition("/")[2] in ("zarr.json", ".zgroup")]
    if not roots:
        raise SourceError("not readable as zarr, it has no zarr.json and no .zgroup")
    root = min(roots, key=lambda name: (name.count("/"), name)).rpartition("/")[0]
    prefix = f"{root}/" if root else ""
    inside = {name.removeprefix(prefix): data for name, data in files.items() if name.startswith(prefix)}
    for name, data in inside.items():
        if name.rpartition("/")[2] in _ZARR_METADATA:
            _refuse_pickle(name, json.loads(data))
    buffer = default_buffer_prototype().buffer
    store: Any = MemoryStore({name: buffer.from_bytes(data) for name, data in inside.items()}, read_only=True)
    return _in_small_chunks(xr.open_dataset(store, engine="zarr", consolidated=False, chunks=None, **_RAW), max_bytes)


def _refuse_pickle(name: str, metadata: Any) -> None:
    """Refuse the one codec that can run code in a file."""
    if isinstance(metadata, dict):
        for key in ("id", "name"):
            if str(metadata.get(key, "")).lower().rpartition(".")[2] == "pickle":
                raise SourceError(f"{name} asks for the codec pickle, which could run code; write values by another")
        metadata = list(metadata.values())
    if isinstance(metadata, list):
        for part in metadata:
            _refuse_pickle(name, part)
