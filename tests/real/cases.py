"""Real, broken files, each ingested with a product file alone: accepted, revised and refused rows, reasons, warnings.

NIGHTCAST_REAL_DATA=... python -m tests.real.cases        # the table of tests/real/README.md
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import xarray as xr

from pipeline.config import Product, Settings, load_product
from pipeline.errors import ContractError, UpstreamError
from pipeline.ingest.fetch import fetch_payloads
from pipeline.ingest.payload import ingest_payload
from pipeline.jobs.ingest import FeedResult, ingest, summarise
from pipeline.workspace import Workspace
from tests.world import make_settings

PRODUCTS = Path(__file__).parent / "products"
CASES = {
    "asos": "dirty_cases/jan-17-co-asos.txt.xz",
    "nycflights": "dirty_cases/nycflights13_weather_hourly_2013.parquet",
    "mast": "dirty_cases/brightwind_metmast_10min.parquet",
    "meteonet": "dirty_cases/meteonet_rainfall_SE_2016_08.3.npz",
    "auckland": "akl_pedestrian_hourly",
    "irish-wind": "irish_wind_daily",
    "us-daily": "us_daily_stations_1990_93",
    "agulhas": "globcurrent_agulhas_daily",
    "era5": "era5_uk_t2m_hourly",
    "radar-bom": "radar_pysteps/bom66_20201031_10min_512.npz",
    "radar-knmi": "radar_pysteps/knmi_20100826_5min_765x700.npz",
}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def data_folder() -> Path | None:
    """Return the folder of the real files, where there is one."""
    named = os.environ.get("NIGHTCAST_REAL_DATA")
    return Path(named) if named and Path(named).is_dir() else None


def prepare(case: str, folder: Path, data: Path) -> tuple[Product, Settings]:
    """Lay out a case in an empty folder: its product file, and the real files beside it under ``data``."""
    for path in PRODUCTS.glob("*"):
        shutil.copy(path, folder)
    (folder / "data").symlink_to(data)
    if case == "agulhas":
        write_days(data / "globcurrent_agulhas_daily" / "globcurrent_agulhas_2002.npz", folder / "days")
    return load_product(folder / f"{case}.yaml"), make_settings(folder)


def take(product: Product, settings: Settings) -> FeedResult:
    """Ingest a product; what is refused as a whole is a result as well."""
    ws = Workspace(product, settings)
    try:
        return ingest(ws, at=NOW)
    except (ContractError, UpstreamError):
        again = fetch_payloads(ws.feed, at=NOW, again=True)
        return summarise(ws.feed, [ingest_payload(one, ws.feed, at=NOW) for one in again])


def write_days(archive: Path, folder: Path) -> None:
    """Write the days of a year as the provider delivers them: one file each, the time unit in an attribute `Unit`."""
    folder.mkdir()
    with np.load(archive) as year:
        days = (year["time"].astype("datetime64[D]") - np.datetime64("1900-01-01")).astype(np.float64)
        u, v, latitude, longitude = (year[name] for name in ("u", "v", "lat", "lon"))
    for place, day in enumerate(days):
        dims = ("time", "lat", "lon")
        xr.Dataset(
            {
                "u": (dims, u[place : place + 1], {"units": "m s-1"}),
                "v": (dims, v[place : place + 1], {"units": "m s-1"}),
            },
            {
                "time": ("time", [day], {"Unit": "days since 1900-1-1"}),
                "lat": ("lat", latitude, {"units": "degrees_north"}),
                "lon": ("lon", longitude, {"units": "degrees_east"}),
            },
        ).to_netcdf(folder / f"{place:03d}.nc", engine="netcdf4")


def _line(case: str, result: FeedResult) -> str:
    refused = "; ".join(f"{count:,} {reason}" for reason, count in result.reasons.items()) or "–"
    odd = "; ".join(result.warnings) or "–"
    thinned = f" ({result.thinned:,} thinned)" if result.thinned else ""
    counts = f"{result.added:,}{thinned} | {result.revised:,} | {refused}"
    return f"| `{case}` | {counts} | {odd} |"


def main() -> None:
    """Print the table, a line a case."""
    data = data_folder()
    if data is None:
        sys.exit("NIGHTCAST_REAL_DATA names no folder")
    sys.stdout.write("| product | accepted | revised | refused | odd, and kept |\n|---|---|---|---|---|\n")
    for case in sys.argv[1:] or CASES:
        with tempfile.TemporaryDirectory() as folder:
            result = take(*prepare(case, Path(folder), data))
        sys.stdout.write(_line(case, result) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
