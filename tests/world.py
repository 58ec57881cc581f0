"""A tiny synthetic world: a product of a few stations whose wind follows the seasons, and everything it needs on disk.

    product = make_product(tmp_path)                      # product.yaml, stations.csv, wind.csv; loaded and checked
    settings = make_settings(tmp_path)                    # an empty home beside them
    fill(product, settings)                               # the CSV into the observations, without sources and checks
    snapshot = take_snapshot(Workspace(product, settings), known_by=end_of(product))
    folds = split(snapshot)                               # 60 issue times judge, 60 choose, the rest train

Values are positive, seasonal, correlated over stations and from frame to frame, and the same for the same arguments.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml
from numpy.typing import NDArray

from pipeline.config import Product, Settings, load_product
from pipeline.config.base import parse_duration
from pipeline.features import snapshot
from pipeline.features.snapshot import Snapshot
from pipeline.forecasting import predict
from pipeline.forecasting.predict import IssuedForecast
from pipeline.ingest.feed import OpenFeed
from pipeline.steps import mean_length
from pipeline.store.observations import AppendResult
from pipeline.workspace import Workspace

VARIABLE = "wind_speed"
TIME = pa.timestamp("us", tz="UTC")
ROW_SCHEMA = pa.schema([("valid_time", TIME), ("location", pa.string()), (VARIABLE, pa.float64())])


def make_values(
    frames: int, stations: int, *, step: timedelta = timedelta(days=1), seed: int = 0
) -> NDArray[np.float64]:
    """Return wind speeds (frame, station) in m s-1: a season, a common AR(1) part and a smaller one of each station."""
    random = np.random.default_rng(seed)
    common, own = np.zeros(frames), np.zeros((frames, stations))
    for n in range(1, frames):
        common[n] = 0.7 * common[n - 1] + random.normal()
        own[n] = 0.5 * own[n - 1] + random.normal(size=stations)
    years = np.arange(frames) * (step / timedelta(days=365.25))
    season = 0.3 * np.cos(2 * np.pi * years)[:, None]
    level = np.linspace(1.8, 2.2, stations)
    rounded: NDArray[np.float64] = np.round(np.exp(level + season + 0.15 * common[:, None] + 0.08 * own), 3)
    return rounded


def make_product(
    folder: Path,
    *,
    stations: int = 4,
    days: int = 400,
    step: str = "1d",
    delay: str = "6h",
    horizon: int = 2,
    context: int = 5,
    start: str = "2001-01-01",
    seed: int = 0,
    **overrides: Any,
) -> Product:
    """Write a product file, its stations and one wide CSV into `folder`, and return the product.

    Stations are S0, S1, ...; `start` is the first valid_time. The CSV stamps are valid times. Forecasts are issued
    one hour after a daily value is due, or at minute 5 of every hour for finer steps. Every other keyword is a part
    of the product file and is merged into it, e.g. ``feed={"mode": "live"}, gate={"issues": 20}``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    span, wait = parse_duration(step), parse_duration(delay)
    frames = timedelta(days=days) // span
    ids = [f"S{n}" for n in range(stations)]
    times = pd.date_range(pd.Timestamp(start, tz="UTC"), periods=frames, freq=span)
    wide = pd.DataFrame(make_values(frames, stations, step=span, seed=seed), columns=ids)
    wide.insert(0, "time", times.strftime("%Y-%m-%dT%H:%M:%SZ"))
    wide.to_csv(folder / "wind.csv", index=False)
    pd.DataFrame(
        {
            "id": ids,
            "name": [f"Station {n}" for n in range(stations)],
            "longitude": np.linspace(-10.0, -6.0, stations).round(3),
            "latitude": np.linspace(51.5, 55.0, stations).round(3),
        }
    ).to_csv(folder / "stations.csv", index=False)
    issue_hour = (wait // timedelta(hours=1) + 1) % 24
    fields: dict[str, Any] = {
        "name": "tiny-wind",
        "title": "Wind of a tiny world",
        "feed": {
            "source": {"kind": "files", "path": "wind.csv", "format": "csv", "layout": "wide"},
            "step": step,
            "delay": delay,
            "mode": "archive",
            "locations": {"kind": "stations", "path": "stations.csv"},
            "variables": {VARIABLE: {"units": "m s-1", "limits": [0, 100]}},
        },
        "forecast": {"targets": [VARIABLE], "context": context, "horizon": horizon},
        "training": {"candidates": ["ridge-var"], "window": "2y", "validation": 60, "budget": "1min"},
        "gate": {"issues": 60, "significance": 0.25},  # so few show little
        "schedule": {"forecast": f"0 {issue_hour} * * *" if span >= timedelta(days=1) else "5 * * * *"},
    }
    path = folder / "product.yaml"
    path.write_text(yaml.safe_dump(_merged(fields, overrides), sort_keys=False))
    return load_product(path)


def make_settings(folder: Path, store: str = "") -> Settings:
    """Return settings whose stores live below ``folder/home``, or in a bucket, and that read no environment or file."""
    return Settings.model_construct(home=(folder / "home").absolute(), store=store, tracking_uri="", secrets={})


def make_rows(*rows: tuple[datetime, str, float | None]) -> pa.Table:
    """Return (valid_time, location, wind speed) tuples as decoded rows."""
    return pa.Table.from_pylist([dict(zip(ROW_SCHEMA.names, row, strict=True)) for row in rows], schema=ROW_SCHEMA)


def record_rows(product: Product) -> pa.Table:
    """Return the CSV of a product as decoded rows."""
    wide = pd.read_csv(product.folder / "wind.csv")
    times = pd.to_datetime(wide.pop("time"), utc=True).dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    return pa.table(
        [
            pa.array(np.repeat(times, wide.shape[1]), TIME),
            pa.array(list(wide.columns) * len(wide), pa.string()),
            pa.array(wide.to_numpy().ravel(), pa.float64(), from_pandas=True),
        ],
        schema=ROW_SCHEMA,
    )


def fill(product: Product, settings: Settings, *, at: datetime | None = None) -> AppendResult:
    """Append the CSV of a product to its observations, as learnt at `at` (by default: as history, once all is due)."""
    return OpenFeed(product.feed, settings).observations.append(
        record_rows(product), at=at or end_of(product), payload="0" * 64
    )


def take_snapshot(ws: Workspace, *, known_by: datetime, since: datetime | None = None) -> Snapshot:
    """Return the snapshot that a retrain of a workspace takes."""
    return snapshot.take_snapshot(ws.product, ws.cadence, ws.feed, ws.covariates, known_by=known_by, since=since)


def issue(ws: Workspace, issue_time: datetime) -> IssuedForecast:
    """Return the forecast that a workspace makes for an issue time."""
    return predict.issue_forecast(ws.product, ws.cadence, ws.feed, ws.covariates, ws.bundles, issue_time, ws.ledger)


def end_of(product: Product) -> datetime:
    """Return the instant at which the next value after the CSV would be due; all of the CSV is known by then."""
    newest = pd.to_datetime(pd.read_csv(product.folder / "wind.csv")["time"].iloc[-1], utc=True)
    now: datetime = newest.to_pydatetime() + product.feed.delay + mean_length(product.feed.step)
    return now


def _merged(fields: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    both = {key: _merged(fields[key], value) for key, value in overrides.items() if _mappings(fields.get(key), value)}
    return fields | overrides | both


def _mappings(*values: object) -> bool:
    return all(isinstance(value, dict) for value in values)
