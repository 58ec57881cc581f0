"""Small files of arrays and the feeds that read them: 2 hours, 3 rows from the north, 4 columns, values 0 to 23."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pipeline.config import Feed, Product
from pipeline.ingest.sources import Decoded, Payload, open_source
from pipeline.locations import read_locations

GRID = {
    "kind": "grid",
    "latitude": {"start": 52, "step": -1, "count": 3},
    "longitude": {"start": -2, "step": 1, "count": 4},
}
TIMES = np.array(["2020-01-01T01", "2020-01-01T02"], "datetime64[ns]")
VALUES = np.arange(24.0).reshape(2, 3, 4)


def make_feed(
    folder: Path,
    *,
    variables: dict[str, Any] | None = None,
    locations: dict[str, Any] | None = None,
    step: str = "1h",
    delay: str = "0s",
    covariate: bool = False,
    **source: Any,
) -> Feed:
    feed = {
        "source": {"kind": "files", "path": "data", "format": "netcdf"} | source,
        "step": step,
        "delay": delay,
        "locations": GRID | (locations or {}),
        "variables": variables or {"t": {"units": "K"}},
    }
    fields = {"name": "test", "feed": feed, "forecast": {"targets": list(feed["variables"])}}
    if covariate:
        fields["covariates"] = {"nwp": feed}
    product = Product.model_validate_json(json.dumps(fields)).within(folder)
    return product.covariates["nwp"] if covariate else product.feed


def decode(feed: Feed, content: bytes) -> Decoded:
    return open_source(feed, read_locations(feed)).decode(Payload.of("x", content))


def make_dataset(values: Any = VALUES, *, attrs: dict[str, Any] | None = None, **coordinates: Any) -> xr.Dataset:
    """A data set of one variable `t`; `coordinates` take the place of time, latitude and longitude."""
    axes = {"time": TIMES, "latitude": [52.0, 51, 50], "longitude": [-2.0, -1, 0, 1]} | coordinates
    return xr.Dataset({"t": (tuple(axes), np.asarray(values), attrs or {})}, coords=axes)


def netcdf(dataset: xr.Dataset, folder: Path, *, form: Any = "NETCDF4", **encoding: Any) -> bytes:
    path = folder / "written.nc"
    dataset.to_netcdf(path, engine="netcdf4", format=form, encoding=encoding)
    return path.read_bytes()


def npz(**arrays: Any) -> bytes:
    whole = io.BytesIO()
    np.savez_compressed(whole, **arrays)
    return whole.getvalue()


def zarr_folder(dataset: xr.Dataset, path: Path, *, version: Any = 3) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of consolidated metadata
        dataset.to_zarr(path, mode="w", zarr_format=version, consolidated=False)
    return path


def zipped(folder: Path, *, inside: str = "") -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for part in sorted(part for part in folder.rglob("*") if part.is_file()):
            archive.write(part, f"{inside}{part.relative_to(folder).as_posix()}")
    return whole.getvalue()


def grib(edition: int = 1, **keys: int | str) -> bytes:
    """A message an hour of 3 x 4 values from 358 to 1 degrees east; `keys` take the place of those of ecCodes."""
    eccodes = pytest.importorskip("eccodes")
    messages = []
    for hour in (1, 2):
        handle = eccodes.codes_grib_new_from_samples(f"regular_ll_sfc_grib{edition}")
        said: dict[str, int | str] = {
            "Ni": 4,
            "Nj": 3,
            "latitudeOfFirstGridPointInDegrees": 52,
            "latitudeOfLastGridPointInDegrees": 50,
            "longitudeOfFirstGridPointInDegrees": 358,
            "longitudeOfLastGridPointInDegrees": 1,
            "iDirectionIncrementInDegrees": 1,
            "jDirectionIncrementInDegrees": 1,
            "dataDate": 20200101,
            "dataTime": hour * 100,
            "shortName": "2t",
            "bitsPerValue": 16,
        }
        for key, value in (said | keys).items():
            eccodes.codes_set(handle, key, value)
        eccodes.codes_set_values(handle, np.arange(12.0) + 12 * (hour - 1))
        messages.append(eccodes.codes_get_message(handle))
        eccodes.codes_release(handle)
    return b"".join(messages)


def cells(decoded: Decoded, variable: str = "t") -> dict[tuple[str, str], float]:
    """Rows as {(hour as in 01:00, cell): value}."""
    return {(row["valid_time"].strftime("%H:%M"), row["location"]): row[variable] for row in decoded.rows.to_pylist()}
