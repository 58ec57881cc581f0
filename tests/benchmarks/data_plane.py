"""Ratios of the data plane, each pair measured in turns in this one run. Run: make benchmark

    python -W ignore tests/benchmarks/data_plane.py [--rows 1000000] [--growth 20]

Prints, for a synthetic network of hourly stations:

* frames: rows in any order to arrays, against a pandas pivot of the same rows;
* ingest: decode, validate, de-duplicate and commit a wide Parquet file, against a plain sorted write of its rows plus
  the Great Expectations run alone, and where the time goes;
* small payloads: what one file of an hour costs, wall and CPU, when many are ingested at once;
* append of rows that are present already, and of as many revisions, against the first append;
* with `--growth N`: N payloads of a month and a million rows each, every one by a process of its own: its time and its
  peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from expectations.suites import validate
from pipeline.config import Product, Settings, load_product
from pipeline.features.frames import build_frames
from pipeline.ingest import payload
from pipeline.ingest.feed import OpenFeed
from pipeline.ingest.quality import validation
from pipeline.locations import read_locations
from pipeline.store.observations import Observations
from pipeline.workspace import Workspace
from tests import jobs

STATIONS, ROUNDS, SMALL = 100, 5, 60
NOW = datetime(2026, 1, 1, tzinfo=UTC)
VARIABLE = "air_temperature"
HOUR = np.timedelta64(1, "h")
YAML = """
name: bench
feed:
  source: {kind: files, path: "inbox/*.parquet", format: parquet, layout: LAYOUT}
  step: 1h
  mode: archive
  locations: {kind: stations, path: stations.csv}
  variables: {air_temperature: {}}
forecast: {targets: [air_temperature]}
"""


def main(rows: int, growth: int) -> None:
    """Run every comparison."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if growth:
            _growth(folder, rows, growth)
            return
        product = _product(folder, "wide", STATIONS)
        times, values = _field(np.datetime64("2000-01-01", "us"), rows // STATIONS, STATIONS)
        pq.write_table(_wide(times, values), folder / "inbox/data.parquet")
        print(f"{rows:,} rows, {STATIONS} stations, {ROUNDS} rounds, median of per-round ratios (range)")
        _frames(product, _long(times, values))
        _ingest(product, _long(times, values), folder)
        (folder / "small").mkdir()
        _small(_product(folder / "small", "wide", STATIONS), folder / "small")


def _frames(product: Product, table: pa.Table) -> None:
    shuffled = table.take(np.random.default_rng(0).permutation(table.num_rows))
    shuffled = shuffled.append_column("known_at", shuffled["valid_time"])
    ids = read_locations(product.feed).ids

    def ours() -> None:
        build_frames(shuffled, locations=ids, variables=(VARIABLE,), step=timedelta(hours=1))

    def pivot() -> None:
        shuffled.to_pandas().pivot(index="valid_time", columns="location", values=VARIABLE).to_numpy()

    _compare("frames, any row order: pandas pivot / ours (target >= 5)", pivot, ours)


def _ingest(product: Product, table: pa.Table, folder: Path) -> None:
    runs: list[tuple[Any, ...]] = []

    def recorded(*arguments: Any) -> Any:
        runs.append(arguments)
        return validate(*arguments)

    homes = iter(range(1000))

    def ours() -> Settings:
        settings = Settings(home=folder / f"home{next(homes)}")
        result = jobs.ingest(Workspace(product, settings), at=NOW)
        assert result.added == table.num_rows
        return settings

    with patch.object(validation, "validate", recorded):
        settings = ours()

    def floor() -> None:
        rows = table.sort_by([("valid_time", "ascending"), ("location", "ascending")])
        pq.write_table(rows, folder / "plain.parquet")
        for arguments in runs:
            validate(*arguments)

    parts: dict[str, list[float]] = {}
    with _timed(parts, payload, "validate_rows"), _timed(parts, Observations, "append"):
        _compare("ingest: ours / (plain sorted write + Great Expectations run) (target <= 3)", ours, floor)
        whole = statistics.median(_seconds(ours) for _ in range(ROUNDS))
    told = {name: statistics.median(seconds[-ROUNDS:]) / whole for name, seconds in parts.items()}
    told["the rest"] = 1 - sum(told.values())
    print("  of which " + ", ".join(f"{name} {share:.0%}" for name, share in told.items()))

    changed = table.set_column(2, VARIABLE, pa.array(table[VARIABLE].to_numpy() + 1))

    def store(rows: pa.Table, where: Settings) -> Callable[[], None]:
        def append() -> None:
            OpenFeed(product.feed, where).observations.append(rows, at=NOW, payload="0" * 64)

        return append

    first = lambda: store(table, Settings(home=folder / f"home{next(homes)}"))()  # noqa: E731
    _compare("append of what is present already / first append", store(table, settings), first)

    def corrected() -> float:
        where = Settings(home=folder / f"home{next(homes)}")
        store(table, where)()
        return _seconds(store(changed, where))

    ratios = [corrected() / _seconds(first) for _ in range(ROUNDS)]
    print(f"append of as many revisions / first append: {statistics.median(ratios):.2f}")


def _small(product: Product, folder: Path) -> None:
    """Ingest a month, so that there is something to compare with, and then hour after hour, a file each."""
    times, values = _field(np.datetime64("2000-01-01", "us"), 720 + SMALL, STATIONS)
    settings = Settings(home=folder / "home")
    pq.write_table(_wide(times[:720], values[:720]), folder / "inbox/000.parquet")
    jobs.ingest(Workspace(product, settings), at=NOW)
    for hour in range(720, 720 + SMALL):
        pq.write_table(_wide(times[hour : hour + 1], values[hour : hour + 1]), folder / f"inbox/{hour}.parquet")
    started, worked = time.perf_counter(), time.process_time()
    result = jobs.ingest(Workspace(product, settings), at=NOW)
    seconds, cpu = time.perf_counter() - started, time.process_time() - worked
    assert result.added == SMALL * STATIONS
    print(f"small payloads, {STATIONS} rows each: {1e3 * seconds / SMALL:.0f} ms, {1e3 * cpu / SMALL:.0f} ms CPU each")


def _growth(folder: Path, rows: int, payloads: int) -> None:
    """Let a process of its own ingest each month, and print what it took."""
    stations = -(-rows // 720)
    product = _product(folder, "long", stations)
    print(f"{payloads} payloads of a month, {stations} stations: rows stored, time and peak memory of each")
    taken = []
    month = np.datetime64("2000-01", "M")
    for n in range(payloads):
        start, stop = ((month + k).astype("datetime64[us]") for k in (n, n + 1))
        times, values = _field(start, int((stop - start) / HOUR), stations, seed=n)
        pq.write_table(
            _long(times, values).rename_columns(["time", "location", VARIABLE]), folder / f"inbox/{n:03}.parquet"
        )
        command = [sys.executable, "-W", "ignore", __file__, "--one", str(product.folder)]
        told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        taken.append(told)
        spent = f"{told['seconds']:6.2f} s {told['cpu_seconds']:6.2f} s CPU {told['peak_mb']:6.0f} MB"
        print(f"  {told['stored']:>11,} {spent}", flush=True)
    half = len(taken) // 2
    for what in ("seconds", "cpu_seconds", "peak_mb"):
        early, late = (
            statistics.median(one[what] / one["rows"] for one in part) for part in (taken[:half], taken[half:])
        )
        print(f"{what} a row, second half / first half: {late / early:.2f} (linear and flat: 1)")


def _one(folder: Path) -> None:
    """Ingest what is new, as the scheduler would, and tell what it took."""
    import great_expectations  # noqa: F401 - its import costs the same for any payload

    product, settings = load_product(folder / "bench.yaml"), Settings(home=folder / "home")
    started, worked = time.perf_counter(), time.process_time()
    result = jobs.ingest(Workspace(product, settings), at=NOW)
    seconds, cpu = time.perf_counter() - started, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    view = OpenFeed(product.feed, settings).observations.table.versions.newest()
    assert view is not None
    stored = sum(file.rows for file in view.scan.files)
    print(json.dumps({"rows": result.added, "stored": stored, "seconds": seconds, "cpu_seconds": cpu, "peak_mb": peak}))


def _compare(what: str, one: Callable[[], object], other: Callable[[], object]) -> None:
    one(), other()  # warm both
    ratios = [_seconds(one) / _seconds(other) for _ in range(ROUNDS)]
    print(f"{what}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@contextmanager
def _timed(parts: dict[str, list[float]], where: Any, name: str) -> Iterator[None]:
    work = getattr(where, name)

    def timed(*arguments: Any, **options: Any) -> Any:
        started = time.perf_counter()
        done = work(*arguments, **options)
        parts.setdefault(name, []).append(time.perf_counter() - started)
        return done

    with patch.object(where, name, timed):
        yield


def _field(
    start: np.datetime64, hours: int, stations: int, seed: int = 0
) -> tuple[NDArray[np.datetime64], NDArray[np.float64]]:
    """Hourly temperatures: a day, a weather that all share, and what each station has of its own."""
    random = np.random.default_rng(seed)
    times = start + np.arange(hours) * HOUR
    day = 6 * np.sin(2 * np.pi * (np.arange(hours) % 24) / 24)
    weather = np.convolve(random.standard_normal(hours + 47), np.ones(48) / 8, "valid")
    own = 0.3 * random.standard_normal((hours, stations))
    return times, np.round(10 + (day + weather)[:, None] + own, 2)


def _names(stations: int) -> list[str]:
    return [f"s{n:04}" for n in range(stations)]


def _wide(times: NDArray[np.datetime64], values: NDArray[np.float64]) -> pa.Table:
    columns = zip(_names(values.shape[1]), values.T, strict=True)
    return pa.table({"time": pa.array(times, pa.timestamp("us", "UTC")), **dict(columns)})


def _long(times: NDArray[np.datetime64], values: NDArray[np.float64]) -> pa.Table:
    names = _names(values.shape[1])
    return pa.table(
        {
            "valid_time": pa.array(np.repeat(times, len(names)), pa.timestamp("us", "UTC")),
            "location": pa.array(names * len(times)),
            VARIABLE: values.ravel(),
        }
    )


def _product(folder: Path, layout: str, stations: int) -> Product:
    (folder / "inbox").mkdir()
    lines = [f"{name},{name},{n % 40 / 10},{n // 40 / 10}" for n, name in enumerate(_names(stations))]
    (folder / "stations.csv").write_text("id,name,longitude,latitude\n" + "\n".join(lines) + "\n")
    (folder / "bench.yaml").write_text(YAML.replace("LAYOUT", layout))
    return load_product(folder / "bench.yaml")


if __name__ == "__main__":
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--growth", type=int, default=0, metavar="PAYLOADS")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        _one(given.one)
    else:
        main(given.rows, given.growth)
