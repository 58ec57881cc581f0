"""Accuracy on gridded fields: every model asked for, on real grids, chosen on validation, scored once at the end.

`era5`: 2 m temperature over the British Isles, hourly, March 2019; the last 149 hours are the test. `agulhas`: surface
current, daily, 2002; the last fifth is the test. Every issue time from which all leads can be scored counts. RMSE of
the median at single leads, averaged over time, cells and components before the root.

    NIGHTCAST_REAL_DATA=... python -m tests.benchmarks.fields era5 persistence pooled-convolution simvp [--seeds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from models.base import Epoch
from models.baselines.base import Baseline
from models.catalogue import MODELS, build
from models.task import Task
from pipeline.training.metrics import crps
from tests.records import Record

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


class Case(NamedTuple):
    """A data set as a task: folds in order of time, the leads to report, and what they are called."""

    train: Record
    validation: Record
    test: Record
    leads: tuple[int, ...]
    unit: str


def era5(folder: Path) -> Case:
    """Hourly temperature, 24 frames in and out."""
    with np.load(folder / "era5_uk_t2m_hourly" / "era5_uk_t2m_201903.npz", allow_pickle=False) as stored:
        values = stored["t2m"].astype(np.float32)[:, None]
    rows, columns = values.shape[2:]
    start = np.datetime64("2019-03-01T00:00:00")
    axes = np.linspace(58, 50, rows), np.linspace(-10, 2, columns)
    return case(values, start, 3600, axes, ("air_temperature",), 24, 24, (1, 3, 6, 12, 24), 149, "K")


def agulhas(folder: Path) -> Case:
    """Daily current, both components, 7 frames in and out."""
    with np.load(folder / "globcurrent_agulhas_daily" / "globcurrent_agulhas_2002.npz", allow_pickle=False) as stored:
        values = np.stack([stored["u"], stored["v"]], axis=1).astype(np.float32)
    rows, columns = values.shape[2:]
    start = np.datetime64("2002-01-01T00:00:00")
    axes = np.linspace(-40.1, -30.1, rows), np.linspace(14.9, 34.9, columns)
    names = ("eastward_current", "northward_current")
    return case(values, start, 86_400, axes, names, 7, 7, (1, 3, 7), 73, "m/s")


def case(
    values: np.ndarray[Any, Any],
    start: np.datetime64,
    step: int,
    axes: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]],
    names: tuple[str, ...],
    context: int,
    leads: int,
    reported: tuple[int, ...],
    last: int,
    unit: str,
) -> Case:
    """Folds of fields (frame, channel, y, x): the last frames are the test, a fifth of the others the validation."""
    frames, channels, rows, columns = values.shape
    north, east = np.meshgrid(*axes, indexing="ij")
    task = Task(
        channels=names,
        targets=names,
        context=context,
        leads=leads,
        quantile_levels=LEVELS,
        step_seconds=step,
        locations=tuple(f"r{row:03}c{column:03}" for row in range(rows) for column in range(columns)),
        longitude=tuple(east.ravel().tolist()),
        latitude=tuple(north.ravel().tolist()),
        transforms=("identity",) * channels,
        limits=((None, None),) * channels,
        grid=(rows, columns),
    )
    flat = values.reshape(frames, channels, rows * columns)
    known = np.isfinite(flat)
    record = Record(task, start + step * np.arange(frames), np.where(known, flat, np.float32(0)), known, np.arange(0))
    cut = frames - last
    middle = cut - cut // 5
    # A fold begins with the first target after the last of the fold before.
    bounds = ((context, middle), (middle, cut), (cut, frames))
    train, validation, test = (
        Record(task, record.time, record.values, known, np.arange(a - 1, b - leads)) for a, b in bounds
    )
    return Case(train, validation, test, reported, unit)


def trial(name: str, options: dict[str, Any], seed: int, data: Case) -> tuple[list[float], float, float, float]:
    """RMSE of the median at the reported leads, CRPS over all, cover of the widest interval, seconds to fit."""
    model = build(name, data.train.task, **options)
    started = time.perf_counter()
    model.fit(data.train, data.validation, seed=seed, progress=lambda epoch: tell(name, epoch))
    seconds = time.perf_counter() - started
    task = data.train.task
    squares, counts = np.zeros(task.leads), np.zeros(task.leads)
    score, inside, known = 0.0, 0, 0
    for start in range(0, len(data.test), 8):  # a few issue times at once: a grid makes large forecasts
        batch = data.test.batch(np.arange(start, min(start + 8, len(data.test))))
        quantiles, mask = model.predict(batch.inputs), batch.target_mask
        error = np.where(mask, quantiles[..., LEVELS.index(0.5)] - batch.target, 0)
        squares += np.square(error, dtype=np.float64).sum((0, 2, 3))
        counts += mask.sum((0, 2, 3))
        score += float(crps(quantiles, batch.target, LEVELS)[mask].sum())
        inside += int(((batch.target >= quantiles[..., 0]) & (batch.target <= quantiles[..., -1]))[mask].sum())
        known += int(mask.sum())
    errors = np.sqrt(squares / counts)
    return [float(errors[lead - 1]) for lead in data.leads], score / known, inside / known, seconds


def tell(name: str, epoch: Epoch) -> None:
    """One line an epoch, so that a long fit shows that it lives."""
    print(
        f"  {name} {epoch.epoch}/{epoch.epochs} train {epoch.train_loss:.4f} validation {epoch.validation_loss:.4f} "
        f"{epoch.seconds:.0f} s",
        flush=True,
    )


def main() -> None:
    """Print a row of the table a model and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=("era5", "agulhas"))
    parser.add_argument("models", nargs="+", choices=list(MODELS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--options", type=json.loads, default={}, help="options of the models, as JSON")
    given = parser.parse_args()
    folder = os.environ.get("NIGHTCAST_REAL_DATA")
    if not folder:
        parser.error("set NIGHTCAST_REAL_DATA to the folder of the data sets")
    data = {"era5": era5, "agulhas": agulhas}[given.data](Path(folder))
    print(
        f"| model | seed | RMSE at leads {'/'.join(map(str, data.leads))}, {data.unit} | CRPS | 90 % covers | fit, s |"
    )
    for name in given.models:
        steady = issubclass(MODELS[name].load(), Baseline)
        for seed in range(1 if steady else given.seeds):
            errors, score, cover, seconds = trial(name, given.options, seed, data)
            cells = "/".join(f"{error:.3f}" for error in errors)
            print(f"| {name} | {seed} | {cells} | {score:.4f} | {cover:.1%} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
