"""Ratios of the data plane, each pair measured in turns in this one run. Run: make benchmark

Prints, for a synthetic table of a million rows:

* frames: rows in any order to arrays, against a pandas pivot of the same rows;
* ingest: decode, validate, de-duplicate and commit, against a plain sorted Parquet write plus the validation alone.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import Product, Settings, load_product
from pipeline.features.frames import build_frames
from pipeline.locations import read_locations
from pipeline.quality.intake import fetch_payloads, take_in
from pipeline.quality.run import check_rows

STATIONS, ROUNDS = 50, 5
NOW = datetime(2026, 1, 1, tzinfo=UTC)
YAML = """
name: bench
feed:
  source: {kind: files, path: data.parquet, format: parquet, layout: long}
  step: 1h
  clock: record
  locations: {kind: stations, path: stations.csv}
  variables: {air_temperature: {}}
forecast: {targets: [air_temperature]}
"""


def main(rows: int) -> None:
    """Run every comparison."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        product = _world(folder, rows)
        table = pq.read_table(folder / "rows.parquet")
        print(f"{rows:,} rows, {STATIONS} stations, {ROUNDS} rounds, median of per-round ratios (range)")
        _frames(product, table)
        _ingest(product, table, folder)


def _frames(product: Product, table: pa.Table) -> None:
    shuffled = table.take(np.random.default_rng(0).permutation(table.num_rows))
    shuffled = shuffled.append_column("known_at", shuffled["valid_time"])
    ids = read_locations(product).ids

    def ours() -> None:
        build_frames(shuffled, locations=ids, variables=("air_temperature",), step=timedelta(hours=1))

    def pivot() -> None:
        shuffled.to_pandas().pivot(index="valid_time", columns="location", values="air_temperature").to_numpy()

    _compare("frames, any row order: pandas pivot / ours (target >= 5)", pivot, ours)


def _ingest(product: Product, table: pa.Table, folder: Path) -> None:
    locations = read_locations(product)

    def ours() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as home:
            settings = Settings(home=Path(home))
            for payload in fetch_payloads(product, settings):
                take_in(payload, product, settings, at=NOW)

    def floor() -> None:
        rows = table.sort_by([("valid_time", "ascending"), ("location", "ascending")])
        pq.write_table(rows, folder / "plain.parquet")
        check_rows(table, product, locations, now=NOW)

    _compare("ingest: ours / (plain sorted write + validation) (target <= 3)", ours, floor)


def _compare(what: str, one: Callable[[], None], other: Callable[[], None]) -> None:
    one(), other()  # warm both
    ratios = [_seconds(one) / _seconds(other) for _ in range(ROUNDS)]
    print(f"{what}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)


def _seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _world(folder: Path, rows: int) -> Product:
    frames = rows // STATIONS
    times = np.datetime64("2000-01-01", "us") + np.arange(frames) * np.timedelta64(1, "h")
    values = np.round(10 + 8 * np.random.default_rng(0).standard_normal((frames, STATIONS)).clip(-4, 4), 2)
    ids = [f"s{n:03}" for n in range(STATIONS)]
    table = pa.table(
        {
            "valid_time": pa.array(np.repeat(times, STATIONS), pa.timestamp("us", "UTC")),
            "location": pa.array(ids * frames),
            "air_temperature": values.ravel(),
        }
    )
    pq.write_table(table.rename_columns(["time", "location", "air_temperature"]), folder / "data.parquet")
    lines = [f"{name},{name},{n / 10},{n / 10}" for n, name in enumerate(ids)]
    (folder / "stations.csv").write_text("id,name,longitude,latitude\n" + "\n".join(lines) + "\n")
    (folder / "bench.yaml").write_text(YAML)
    pq.write_table(table, folder / "rows.parquet")
    return load_product(folder / "bench.yaml")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
