"""Daily networks with half of their values missing: no model may be worse than one that uses less.

Two networks of daily stations, the wind of Ireland (1961-78) and the maximum temperature of the United States plains
(1990-93), are masked in several patterns, and one station in ten is silent throughout. Fitted on the first 60 %, chosen
on the next 10 %, scored once on the rest against all true values: of the stations that report, and of the silent ones.

    NIGHTCAST_REAL_DATA=... python -m tests.benchmarks.gaps [wind] [plains] [--models climatology ridge-var ...]
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.catalogue import MODELS, build
from models.task import Task
from pipeline.training.metrics import crps
from tests.records import Record

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
CONTEXT, LEADS = 14, 3
REFERENCES = ("climatology", "damped-anomaly", "ridge-var")
"""In order: none may be worse than the one before."""

Known = NDArray[np.bool_]


def wind(folder: Path) -> Record:
    """Return the daily mean wind at 12 Irish stations, in knots."""
    frame = pd.read_parquet(folder / "irish_wind_daily" / "wind_knots_1961_1978.parquet").set_index("time")
    stations = pd.read_csv(folder / "irish_wind_daily" / "stations_raw.csv").set_index("Code").loc[list(frame)]
    longitude = [-_degrees(text) for text in stations["Longitude"]]
    return _record("wind", "sqrt", frame, longitude, [_degrees(text) for text in stations["Latitude"]])


def plains(folder: Path) -> Record:
    """Return the daily maximum temperature at 137 stations, in degrees Fahrenheit."""
    rows = pd.read_parquet(folder / "us_daily_stations_1990_93" / "noaa_1990_1993_long.parquet")
    stations = pd.read_csv(folder / "us_daily_stations_1990_93" / "stations.csv").set_index("id")
    frame = rows[rows["proc"] == "Tmax"].pivot(index="time", columns="id", values="z")
    stations = stations.loc[list(frame)]
    return _record("temperature", "identity", frame, list(stations["lon"]), list(stations["lat"]))


def _degrees(text: str) -> float:
    degrees, minutes, *_ = re.findall(r"\d+", text)
    return int(degrees) + int(minutes) / 60


def _record(name: str, transform: str, frame: pd.DataFrame, longitude: list[float], latitude: list[float]) -> Record:
    task = Task(
        channels=(name,),
        targets=(name,),
        context=CONTEXT,
        leads=LEADS,
        quantile_levels=LEVELS,
        step_seconds=86_400,
        locations=tuple(str(column) for column in frame),
        longitude=tuple(longitude),
        latitude=tuple(latitude),
        transforms=(transform,),
        limits=((0.0 if transform == "sqrt" else None, None),),
    )
    values = frame.to_numpy(np.float32)[:, None]
    known = np.isfinite(values)
    time = frame.index.to_numpy("datetime64[s]")
    return Record(task, time, np.where(known, values, np.float32(0)), known, np.arange(len(values)))


def scattered(rng: np.random.Generator, frames: int, stations: int) -> Known:
    """Every value is missing or not by chance."""
    return rng.random((frames, stations)) < 0.5


def outages(rng: np.random.Generator, frames: int, stations: int) -> Known:
    """Stations report and fail in spells of two months on average."""
    changes = rng.random((frames, stations)) < 1 / 60
    first = rng.random(stations) < 0.5
    known: Known = (changes.cumsum(0) + first) % 2 == 0
    return known


def alternating(rng: np.random.Generator, frames: int, stations: int) -> Known:
    """Half of the stations report on even days, the others on odd ones: two neighbours are never seen together."""
    known: Known = (np.arange(frames)[:, None] + np.arange(stations)) % 2 == 0
    return known


def staggered(rng: np.random.Generator, frames: int, stations: int) -> Known:
    """Each station works for the last half of the record, or for the first 55 % and the last 5 %."""
    share = np.arange(frames)[:, None] / frames
    early = rng.random(stations) < 0.5
    return np.where(early, (share < 0.55) | (share > 0.95), share > 0.5)


def short(rng: np.random.Generator, frames: int, stations: int) -> Known:
    """Half of the stations began in the last tenth of the training data."""
    late = rng.random(stations) < 0.5
    known: Known = ~late | (np.arange(frames)[:, None] > 0.54 * frames)
    return known


def complete(rng: np.random.Generator, frames: int, stations: int) -> Known:
    """Nothing more is missing than in truth."""
    return np.ones((frames, stations), bool)


PATTERNS: tuple[Callable[[np.random.Generator, int, int], Known], ...] = (
    complete,
    scattered,
    outages,
    alternating,
    staggered,
    short,
)


def trial(name: str, truth: Record, known: Known, silent: Known) -> tuple[NDArray[np.float64], float]:
    """Return the CRPS by lead over the stations that report, and that over the silent ones."""
    frames = len(truth.time)
    masked = replace(truth, mask=truth.mask & known[:, None])
    bounds = np.array([CONTEXT, 0.6 * frames, 0.7 * frames, frames]).astype(int)
    parts = [np.arange(a - 1, b - LEADS) for a, b in pairwise(bounds)]
    train, validation, test = (replace(masked, issues=issues) for issues in parts)
    model = build(name, truth.task)
    model.fit(train, validation, seed=0)
    quantiles = np.concatenate(
        [
            model.predict(test.batch(np.arange(len(test))[start : start + 256]).inputs)
            for start in range(0, len(test), 256)
        ]
    )
    seen = replace(truth, issues=parts[2]).all()
    scores = np.where(seen.target_mask, crps(quantiles, seen.target, LEVELS), np.nan)
    return np.nanmean(scores[..., ~silent], axis=(0, 2, 3)), float(np.nanmean(scores[..., silent]))


def main() -> None:
    """Print a row for each network, pattern and model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=["wind", "plains"])
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=REFERENCES)
    given = parser.parse_args()
    folder = os.environ.get("NIGHTCAST_REAL_DATA")
    if not folder:
        parser.error("set NIGHTCAST_REAL_DATA to the folder of the data sets")
    print("| network | pattern | model | CRPS at 1/2/3 days | of climatology | silent stations |")
    print("|---|---|---|---|---|---|")
    for network in given.networks:
        truth = {"wind": wind, "plains": plains}[network](Path(folder))
        stations = len(truth.task.locations)
        for pattern in PATTERNS:
            rng = np.random.default_rng(0)
            silent = np.arange(stations) < round(stations / 10)
            rng.shuffle(silent)
            known = pattern(rng, len(truth.time), stations) & ~silent
            climate = np.full(LEADS, np.nan)
            for name in given.models:
                scores, unseen = trial(name, truth, known, silent)
                climate = scores if name == "climatology" else climate
                cells = ["/".join(f"{one:.3f}" for one in values) for values in (scores, scores / climate)]
                print(
                    f"| {network} | {pattern.__name__} | {name} | {cells[0]} | {cells[1]} | {unseen:.3f} |", flush=True
                )


if __name__ == "__main__":
    main()
