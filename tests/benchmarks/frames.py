"""Ratios of frames and windows, each pair measured in turns in this one run.

    python -m tests.benchmarks.frames [rows]

Prints, for a synthetic network of 50 stations:

* rows in any order to frames, against a pandas pivot of the same rows;
* a stored table, sorted, its files put out of the page cache, to frames, against pyarrow reading the same columns;
* windows to batches, against a copy of as many bytes that the CPU cache does not hold;
* ten times the history: time and memory of building the cache, of mapping it, and of a forecast's snapshot.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from models.task import Task
from pipeline.config import Product, Settings, load_product
from pipeline.features.arrays import Frames, Revisions
from pipeline.features.files import frame_writer, read_frames
from pipeline.features.frames import build_frames
from pipeline.features.windows import IssueWindows
from pipeline.ingest.feed import OpenFeed
from pipeline.times import Cadence
from pipeline.workspace import Workspace
from tests.world import take_snapshot

STATIONS, ROUNDS = 50, 7
START = np.datetime64("2000-01-01", "us")
COLUMNS = ["valid_time", "location", "known_at", "air_temperature"]
YAML = """
name: bench
feed:
  source: {kind: files, path: data.parquet, format: parquet, layout: long}
  step: 1h
  delay: 1h
  mode: archive
  locations: {kind: stations, path: stations.csv}
  variables: {air_temperature: {}}
forecast: {targets: [air_temperature], context: 48, horizon: 6}
"""


def main(rows: int) -> None:
    """Run every comparison."""
    with tempfile.TemporaryDirectory() as name:
        product, settings = world(Path(name), rows)
        print(f"{rows:,} rows, {STATIONS} stations, median of per-round ratios (middle half of them)", flush=True)
        any_order(product, settings)
        cold(product, settings)
    batches(50, 100_000, 256)
    batches(1024, 10_000, 64)
    growth(rows)


def any_order(product: Product, settings: Settings) -> None:
    rows = OpenFeed(product.feed, settings).observations.read()
    rows = rows.take(np.random.default_rng(0).permutation(rows.num_rows))

    def ours() -> None:
        build(product, rows)

    def pivot() -> None:
        rows.to_pandas().pivot(index="valid_time", columns="location", values="air_temperature").to_numpy()

    compare("rows in any order: pandas pivot / ours (target >= 5)", pivot, ours)


def cold(product: Product, settings: Settings) -> None:
    store = OpenFeed(product.feed, settings).observations
    files = sorted((settings.home / "products" / "bench" / "observations").rglob("*.parquet"))
    rows = store.read()

    def forget() -> None:
        for path in files:
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)

    def ours() -> None:
        build(product, store.read())

    def floor() -> None:
        for path in files:
            pq.read_table(path, columns=COLUMNS, partitioning=None)

    compare("sorted and cold: store to frames / pyarrow reads the columns (target <= 1.5)", ours, floor, forget)
    compare("  of it, the store's read / pyarrow reads the columns", store.read, floor, forget)
    compare("  of it, sorted rows in memory to frames / pyarrow reads the columns", lambda: build(product, rows), floor)


def batches(places: int, frames: int, count: int) -> None:
    """Batches of `count` random windows of a history that no cache of a CPU holds."""
    with tempfile.TemporaryDirectory() as name:
        windows = record(Path(name), places, frames)
    random = np.random.default_rng(0)
    picked = cycle([random.choice(len(windows), count, replace=False) for _ in range(200)])
    one = windows.batch(next(picked))
    arrays = [one.target, one.target_mask, *(getattr(one.inputs, name) for name in one.inputs.__slots__)]
    size = sum(array.nbytes for array in arrays)
    source = random.integers(0, 255, 1 << 29, np.uint8)
    begins = cycle(random.permutation(len(source) // size) * size)

    def copy() -> None:
        begin = next(begins)
        source[begin : begin + size].copy()

    what = f"batches of {count} windows, {places} locations, {size / 1e6:.1f} MB: cold copy / ours (target >= 0.8)"
    compare(what, copy, lambda: windows.batch(next(picked)), rounds=400)


def record(folder: Path, places: int, frames: int) -> IssueWindows:
    """Windows of 48 frames and 6 leads over a memory-mapped record."""
    random, shape = np.random.default_rng(0), (frames, 1, places)
    values = random.standard_normal(shape, np.float32)
    times = START + np.arange(frames) * np.timedelta64(1, "h")
    known_at = np.repeat((times + np.timedelta64(1, "h")).astype(np.int64)[:, None], places, axis=1)
    none = np.zeros(0, np.int64)
    revisions = Revisions(none, none, none, np.zeros((0, 1), np.float32))
    step, names = timedelta(hours=1), tuple(f"s{n}" for n in range(places))
    with frame_writer(folder, channels=1, locations=places, step=step) as writer:
        whole = Frames(times, step, values, np.ones(shape, bool), known_at, revisions)
        writer.append(whole, rows=frames * places)
    zero = (0.0,) * places
    task = Task(("x",), ("x",), 48, 6, (0.5,), 3600, names, zero, zero, ("identity",), ((None, None),))
    issues = [moment(n) + timedelta(minutes=5) for n in range(60, frames - 10)]
    cadence = Cadence(step, step, 5, "5 * * * *", "UTC")
    return IssueWindows(task, cadence, read_frames(folder), issues, truth_at=moment(frames + 9))


def growth(rows: int) -> None:
    for times in (1, 10):
        with tempfile.TemporaryDirectory() as name:
            world(Path(name), rows * times)
            print(f"history of {rows * times:,} rows:")
            for what in ("nothing", "cache", "mapped", "forecast"):
                command = [sys.executable, "-m", "tests.benchmarks.frames", "--one", what, name, str(rows * times)]
                told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                print(f"  {what}: {told['seconds']:.2f} s, peak {told['peak'] / 1024:.0f} MiB", flush=True)


def one(what: str, folder: Path, rows: int) -> None:
    """Do one thing in this fresh process and tell what it took."""
    product, settings = load_product(folder / "bench.yaml"), Settings(home=folder / "home")
    end = moment(rows // STATIONS + 1)
    started = time.perf_counter()
    if what in ("cache", "mapped"):
        take_snapshot(Workspace(product, settings), known_by=end)
    elif what == "forecast":
        snapshot = take_snapshot(Workspace(product, settings), known_by=end, since=end - timedelta(hours=54))
        IssueWindows(snapshot.task, snapshot.cadence, snapshot.frames, [end], truth_at=end).batch(np.array([0]))
    # VmHWM is of this program alone; ru_maxrss would include its parent's at the fork.
    peak = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    print(json.dumps({"seconds": time.perf_counter() - started, "peak": peak}))


def build(product: Product, rows: pa.Table) -> None:
    ids = tuple(f"s{n:03}" for n in range(STATIONS))
    build_frames(rows, locations=ids, variables=tuple(product.feed.variables), step=product.feed.step)


def compare(
    what: str,
    one: Callable[[], Any],
    other: Callable[[], Any],
    before: Callable[[], None] = lambda: None,
    *,
    rounds: int = ROUNDS,
) -> None:
    one(), other()  # warm both
    ratios = [seconds(one, before) / seconds(other, before) for _ in range(rounds)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"{what}: {middle:.2f} ({low:.2f} to {high:.2f})", flush=True)


def seconds(work: Callable[[], Any], before: Callable[[], None]) -> float:
    before()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def moment(hours: int) -> datetime:
    return (START + np.timedelta64(hours, "h")).item().replace(tzinfo=UTC)


def world(folder: Path, rows: int) -> tuple[Product, Settings]:
    """Write a product, and its observations in pieces of a year or so."""
    ids = [f"s{n:03}" for n in range(STATIONS)]
    lines = [f"{name},{name},{n / 10},{n / 10}" for n, name in enumerate(ids)]
    (folder / "stations.csv").write_text("id,name,longitude,latitude\n" + "\n".join(lines) + "\n")
    (folder / "bench.yaml").write_text(YAML)
    product, settings = load_product(folder / "bench.yaml"), Settings(home=folder / "home")
    store, frames, at_once = OpenFeed(product.feed, settings).observations, rows // STATIONS, 10_000
    random = np.random.default_rng(0)
    for begin in range(0, frames, at_once):
        count = min(at_once, frames - begin)
        times = START + np.arange(begin, begin + count) * np.timedelta64(1, "h")
        values = np.round(10 + 8 * random.standard_normal((count, STATIONS)).clip(-4, 4), 2)
        table = pa.table(
            {
                "valid_time": pa.array(np.repeat(times, STATIONS), pa.timestamp("us", "UTC")),
                "location": pa.array(ids * count),
                "air_temperature": values.ravel(),
            }
        )
        store.append(table, at=moment(frames + 1), payload="p", history=True)
    return product, settings


if __name__ == "__main__":
    if "--one" in sys.argv:
        one(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
