"""NumPy's npz archives: named arrays read without pickle, with dimensions inferred from the lengths of coordinates."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.lib import format as npy
from numpy.typing import NDArray

from pipeline.errors import SourceError


def open_npz(content: bytes, wanted: Iterable[str], coordinates: Sequence[str], max_bytes: int) -> xr.Dataset:
    """Return the wanted arrays and the coordinates of an archive; other arrays are not read.

    A one-dimensional array named in `coordinates` is the coordinate of the dimension of its length in every other
    array; where two are equally long, the first in `coordinates` is that of the first dimension.

    Raises:
        SourceError: an array would need pickle, or they take more than `max_bytes`.
        ValueError, zipfile.BadZipFile, zlib.error: the archive is damaged.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        known = [name for name in dict.fromkeys([*coordinates, *wanted]) if name in members]
        size = sum(members[name].file_size for name in known)
        if size > max_bytes:
            raise SourceError(f"its arrays take {size} bytes, more than feed.source.max_bytes, {max_bytes}")
        arrays = {name: _array(name, archive.read(members[name])) for name in known}
        others = [name for name in members if name not in arrays]
    axes = {name: len(arrays[name]) for name in coordinates if name in arrays and arrays[name].ndim == 1}
    dataset = xr.Dataset({name: (_dimensions(name, array, axes), array) for name, array in arrays.items()})
    return dataset.assign_attrs(others=others)


def _array(name: str, member: bytes) -> NDArray[Any]:
    """Return an array over the bytes of its member, without a copy."""
    stream = io.BytesIO(member)
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"array '{name}' is written in version {version} of the format")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, columns_first, kind = read(stream)
    if kind.hasobject:
        raise SourceError(
            f"array '{name}' holds Python objects, which only pickle can read, and pickle may run code; "
            "write it as numbers, text or datetime64"
        )
    start, count = stream.tell(), int(np.prod(shape, dtype=object))  # a header may claim any shape, so without overflow
    if len(member) - start != count * kind.itemsize:
        raise ValueError(f"array '{name}' has {len(member) - start} bytes of data, its header says {shape} of {kind}")
    flat = np.frombuffer(member, kind, count, start) if count else np.empty(0, kind)
    return flat.reshape(shape, order="F" if columns_first else "C")


def _dimensions(name: str, array: NDArray[Any], axes: dict[str, int]) -> list[str]:
    """Return a name for every dimension: the coordinate of its length, or else a new name."""
    if name in axes:
        return [name]
    free, names = dict(axes), []
    for place, length in enumerate(array.shape):
        fits = [axis for axis in free if free[axis] == length]
        names.append(fits[0] if fits else f"{name}_{place}")
        free.pop(names[-1], None)
    return names
