"""Make a packed home and the numbers that the code of its release computed. README.md gives the commands.

The data are synthetic and the same each time: wind at three stations for 220 days, with a weather model that runs daily
and forecasts two days, and wind on a grid of 3 x 4 cells. MLflow chooses new identifiers on every run, so the archive
and the numbers are always made together.
"""

# mypy: disable-error-code="arg-type, attr-defined, call-arg, import"
# It runs with the code of its release, whose names are not those of the code beside it.

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from pipeline.status import status_of

import pipeline
from pipeline import jobs
from pipeline.config import Product, Settings, load_product
from pipeline.registry.tracking import Registry
from pipeline.store.observations import Observations

FOLDER = Path(__file__).parent
ROOT = "/tmp/nightcast-{release}"  # noqa: S108 - the same on every machine: Delta and MLflow record absolute paths
DAY = timedelta(days=1)
START = datetime(2001, 1, 1, tzinfo=UTC)
DAYS, LOADED = 220, 210  # the first LOADED days arrive in one file, each later day in a file of its own
END = datetime(2001, 8, 8, 8, tzinfo=UTC)
"""When the last job ran."""
STATIONS = ("S0", "S1", "S2")
SIZE = (3, 4)
BAD = {"2001-03-01,S1": "2001-03-01,S1,calm", "2001-03-02,S1": "2001-03-02,S1,-3.5"}
UNREADABLE = "inbox/2001-08-05-unreadable.csv"
NETWORK = {"hidden": 4, "layers": 1, "frames": 3, "size": 3, "epochs": 12, "learning_rate": 0.01, "outage": 0.1}

WIND: dict[str, Any] = {
    "name": "tiny-wind",
    "title": "Wind of a tiny world",
    "feed": {
        "source": {"kind": "files", "path": "inbox/*.csv", "format": "csv", "layout": "long"},
        "step": "1d",
        "delay": "6h",
        "locations": {"kind": "stations", "path": "stations.csv"},
        "variables": {"wind_speed": {"units": "m s-1", "limits": [0, 25]}},
    },
    "covariates": {
        "nwp": {
            "source": {
                "kind": "files",
                "path": "nwp/*.csv",
                "format": "csv",
                "layout": "long",
                "known_at": "run_time",
            },
            "step": "1d",
            "locations": {"kind": "stations", "path": "stations.csv"},
            "variables": {"wind_speed": {"units": "m s-1"}},
        }
    },
    "forecast": {"targets": ["wind_speed"], "context": 5, "horizon": 2},
    "training": {
        "candidates": ["ridge-var", "attention-convlstm"],
        "options": {
            "attention-convlstm": NETWORK,
        },
        "window": "2y",
        "validation": 30,
        "budget": "1min",
    },
    "gate": {"issues": 40, "significance": 0.2, "coverage_tolerance": 0.3},
    "schedule": {"forecast": "0 7 * * *"},
}
BOOSTING: dict[str, Any] = {"gradient-boosting": {"rounds": 60, "leaves": 4, "learning_rate": 0.1}}
GRID: dict[str, Any] = {
    "name": "tiny-grid",
    "feed": {
        "source": {"kind": "files", "path": "grid.nc", "format": "netcdf"},
        "step": "1d",
        "delay": "6h",
        "clock": "record",
        "locations": {
            "kind": "grid",
            "longitude": {"start": -10.0, "step": 0.5, "count": SIZE[1]},
            "latitude": {"start": 54.0, "step": -0.5, "count": SIZE[0]},
        },
        "variables": {"wind_speed": {}},
    },
    "forecast": {"targets": ["wind_speed"], "context": 4, "horizon": 2},
    "training": {"candidates": ["ridge-var"], "window": "2y", "validation": 30, "budget": "1min"},
    "gate": {"issues": 40, "significance": 0.3, "coverage_tolerance": 0.3},
    "schedule": {"forecast": "0 7 * * *"},
    "publish": [{"kind": "parquet"}, {"kind": "netcdf"}],
}


def main() -> None:
    """Make the home of the release that the command line names."""
    release = sys.argv[1]
    root = Path(ROOT.format(release=release))
    root.mkdir()  # nobody else's
    os.chdir(root)
    try:
        write_world(root)
        home = Settings.model_construct(home=root / "home", store="", tracking_uri="", secrets={})
        operate(root, home)
        recorded = {name: record_state(root / f"{name}.yaml", home) for name in ("tiny-wind", "tiny-grid")}
        clean(root)
        pack(root, FOLDER / f"{release}.tar.xz")
        forecasts = record_forecasts(root, home)
    finally:
        shutil.rmtree(root)
    text = json.dumps({"root": str(root), **recorded, **forecasts}, indent=1)
    (FOLDER / f"{release}.json").write_text(text + "\n", "utf-8")


def write_world(root: Path) -> None:
    """Write the product files, the stations and what is delivered on the first day."""
    for name in ("inbox", "nwp"):
        (root / name).mkdir(parents=True)
    lines = [f"{one},Station {n},{-9 + n},{52 + 0.7 * n:.1f}" for n, one in enumerate(STATIONS)]
    (root / "stations.csv").write_text("\n".join(["id,name,longitude,latitude", *lines, ""]))
    write_product(root, WIND)
    write_product(root, GRID)
    values = make_values(len(STATIONS))
    rows = [row for day in range(LOADED) for row in observed(values, day)]
    rows[10:10] = ["2001-01-04,S9,5.0", "2001-01-04,S0,6.1,0,0"]  # an unknown station, and a line with more cells
    rows = [BAD.get(row.rpartition(",")[0], row) for row in rows]
    (root / "inbox" / "2001-01-01.csv").write_text("\n".join(["time,location,wind_speed", *rows, ""]))
    rows = [row for day in range(LOADED) for row in foreseen(values, day)]
    (root / "nwp" / "2001-01-01.csv").write_text("\n".join(["time,location,wind_speed,run_time", *rows, ""]))
    write_grid(root / "grid.nc")


def write_product(root: Path, fields: dict[str, Any]) -> Product:
    """Write a product file and return the product."""
    path = root / f"{fields['name']}.yaml"
    path.write_text(yaml.safe_dump(fields, sort_keys=False))
    return load_product(path)


def make_values(places: int, seed: int = 0) -> NDArray[np.float64]:
    """Return wind speeds (day, place): a season, a common AR(1) part and a smaller one of each place."""
    random = np.random.default_rng(seed)
    common, own = np.zeros(DAYS + 3), np.zeros((DAYS + 3, places))
    for n in range(1, DAYS + 3):
        common[n] = 0.7 * common[n - 1] + random.normal()
        own[n] = 0.5 * own[n - 1] + random.normal(size=places)
    season = 0.3 * np.cos(2 * np.pi * np.arange(DAYS + 3) / 365.25)[:, None]
    rounded: NDArray[np.float64] = np.round(np.exp(2.0 + season + 0.15 * common[:, None] + 0.08 * own), 2)
    return rounded


def observed(values: NDArray[np.float64], day: int) -> Iterator[str]:
    """Yield the CSV lines of what was observed on a day."""
    for place, station in enumerate(STATIONS):
        yield f"{START + day * DAY:%Y-%m-%d},{station},{values[day, place]}"


def foreseen(values: NDArray[np.float64], day: int) -> Iterator[str]:
    """Yield the CSV lines of the weather model that runs on a day: the two days after it, with errors."""
    random = np.random.default_rng(day)
    for ahead in (1, 2):
        for place, station in enumerate(STATIONS):
            value = max(values[day + ahead, place] + 0.2 + 0.5 * random.normal(), 0.0)
            run_time = f"{START + day * DAY:%Y-%m-%d} 05:00"
            yield f"{START + (day + ahead) * DAY:%Y-%m-%d},{station},{value:.2f},{run_time}"


def write_grid(path: Path) -> None:
    """Write the wind speeds of the grid as CF netCDF."""
    import xarray as xr

    values = make_values(SIZE[0] * SIZE[1], seed=1)[:DAYS].reshape(DAYS, *SIZE).astype(np.float32)
    axes = {
        "time": pd.date_range(START.replace(tzinfo=None), periods=DAYS, freq="D"),
        "latitude": ("latitude", 54.0 - 0.5 * np.arange(SIZE[0]), {"units": "degrees_north"}),
        "longitude": ("longitude", -10.0 + 0.5 * np.arange(SIZE[1]), {"units": "degrees_east"}),
    }
    speed = (("time", "latitude", "longitude"), values, {"units": "m s-1", "standard_name": "wind_speed"})
    xr.Dataset({"wind_speed": speed}, axes).to_netcdf(path, encoding={"wind_speed": {"zlib": True}})


def operate(root: Path, home: Settings) -> None:
    """Run the jobs of both products day by day, as an installation does."""
    wind = load_product(root / "tiny-wind.yaml")
    values = make_values(len(STATIONS))
    show("ingest", jobs.ingest(wind, home, at=START + (LOADED - 1) * DAY + timedelta(hours=6)))
    for day in range(LOADED, DAYS):
        morning = START + day * DAY
        deliver(root, values, day)
        show(f"ingest {day}", jobs.ingest(wind, home, at=morning + timedelta(hours=6, minutes=5)))
        if day == LOADED + 1:
            show("retrain", jobs.retrain(wind, home, at=morning + timedelta(hours=6, minutes=30)))
        if day == LOADED + 5:
            training = {**WIND["training"], "candidates": ["ridge-var", "attention-convlstm", "gradient-boosting"]}
            training["options"] = {**training["options"], **BOOSTING}
            wind = write_product(root, {**WIND, "training": training})
            show("retrain", jobs.retrain(wind, home, at=morning + timedelta(hours=6, minutes=30)))
        if day == LOADED + 6:
            decide(wind, home, at=morning + timedelta(hours=6, minutes=40))
            show("maintain", jobs.maintain(wind, home, at=morning + timedelta(hours=6, minutes=50)))
        if day < DAYS - 2:
            (done,) = jobs.forecast(wind, home, at=morning + timedelta(hours=7))
            show("forecast", done)
            show("verify", jobs.verify(wind, home, at=morning + timedelta(hours=7, minutes=30)))
    show("verify", jobs.verify(wind, home, at=END))

    grid = load_product(root / "tiny-grid.yaml")
    end = END - DAY
    show("ingest", jobs.ingest(grid, home, at=END))
    show("retrain", jobs.retrain(grid, home, at=end))
    for done in jobs.forecast(grid, home, since=end - 4 * DAY, until=end, at=end):
        show("forecast", done)
    show("verify", jobs.verify(grid, home, at=END))


def deliver(root: Path, values: NDArray[np.float64], day: int) -> None:
    """Put the files of one day into the inbox."""
    rows = list(observed(values, day))
    if day == LOADED + 3:
        rows.append(f"{START + (day - 1) * DAY:%Y-%m-%d},S1,{values[day - 1, 1] + 1.25:.2f}")  # a revision
    if day == LOADED + 4:
        rows[2] = f"{START + day * DAY:%Y-%m-%d},S2,26.0"  # above the limit, but true
        rows.append(f"{START + day * DAY:%Y-%m-%d},S7,8.0")
    if day == LOADED + 6:
        (root / UNREADABLE).write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00 not a table\n")
    name = f"{START + day * DAY:%Y-%m-%d}.csv"
    (root / "inbox" / name).write_text("\n".join(["time,location,wind_speed", *rows, ""]))
    lines = foreseen(values, day)
    (root / "nwp" / name).write_text("\n".join(["time,location,wind_speed,run_time", *lines, ""]))


def decide(wind: Product, home: Settings, *, at: datetime) -> None:
    """Release one refused row, drop another, and change the champion by hand, there and back."""
    who: dict[str, Any] = {"who": "Ann", "at": at}
    (gust,) = [row for row in jobs.show_refused(wind, home, reason="outside").rows if "26.0" in row.values]
    show("release", jobs.release(wind, home, ids=[gust.id], why="seen by two gauges", override=True, **who))
    show("drop", jobs.drop(wind, home, reason="no number", why="a word", **who))
    versions = jobs.models(wind, home)
    show("models", versions)
    champion = next(one.version for one in versions.versions if "champion" in one.aliases)
    if champion == 2:
        show("rollback", jobs.rollback(wind, home, why="spiky forecasts", **who))
    else:
        show("promote", jobs.promote(wind, home, version=2, why="to look at it", **who))
        show("rollback", jobs.rollback(wind, home, who="Ann", why="looked at", at=at + timedelta(minutes=1)))


def record_state(file: Path, home: Settings) -> dict[str, Any]:
    """Return what the read-only commands say of a product, and its scores."""
    product = load_product(file)
    status = status_of(product, home, at=END)
    return {
        "status": status.model_dump(mode="json", exclude={"home", "page", "reason"}),
        "models": jobs.models(product, home).model_dump(mode="json"),
        "quarantine": jobs.list_refused(product, home).model_dump(mode="json"),
        "verify": jobs.verify(product, home, at=END).model_dump(mode="json"),
    }


def record_forecasts(root: Path, home: Settings) -> dict[str, Any]:
    """Return forecasts of the packed home: of each version in service, and of the champion as MLflow loads it."""
    import mlflow

    wind, grid = load_product(root / "tiny-wind.yaml"), load_product(root / "tiny-grid.yaml")
    rows = Observations.of(wind.feed, home).read(since=END - 8 * DAY).to_pandas()
    rows = rows.drop_duplicates(["valid_time", "location"])[["valid_time", "location", "wind_speed"]]
    rows["valid_time"] = rows["valid_time"].dt.tz_localize(None)
    Registry(home, wind.name)  # leads MLflow to this home
    loaded = mlflow.pyfunc.load_model("models:/tiny-wind@champion")
    forecasts = {
        "champion": quantiles(wind, home, at=END),
        "grid": quantiles(grid, home, at=END),
        "observations": json.loads(rows.to_json(orient="records", date_format="iso")),
        "loaded": json.loads(loaded.predict(rows).to_json(orient="records", date_format="iso")),
    }
    jobs.promote(wind, home, version=2, who="Ann", why="to record its forecast")
    return {**forecasts, "other": quantiles(wind, home, at=END - DAY)}


def quantiles(product: Product, home: Settings, *, at: datetime) -> dict[str, Any]:
    """Forecast the latest issue time and return what serves with its quantiles, a row per valid time and location."""
    (done,) = jobs.forecast(product, home, at=at)
    if done.repeated:
        raise RuntimeError(f"{product.name} {at}: published before")
    table = pd.read_parquet(done.folder / "forecast.parquet").sort_values(["valid_time", "location"])
    levels = [name for name in table.columns if name.startswith("q")]
    return {
        "at": at.isoformat(),
        **done.model_dump(mode="json", include={"issue_time", "rung", "model", "version", "digest"}),
        "location": table["location"].to_list(),
        "quantiles": table[levels].to_numpy(np.float64).round(6).tolist(),
    }


def clean(root: Path) -> None:
    """Remove the cache, and the paths that tell where the code of the release was."""
    shutil.rmtree(root / "home" / "cache")
    code = str(Path(pipeline.__file__).parents[1])
    for path in root.rglob("MLmodel"):
        path.write_text(path.read_text("utf-8").replace(code, f"{root}/code"), "utf-8")
    with closing(sqlite3.connect(root / "home" / "mlflow" / "mlflow.db")) as base:
        base.execute("update tags set value = 'make.py' where key = 'mlflow.source.name'")
        base.execute("update logged_model_tags set tag_value = 'make.py' where tag_key = 'mlflow.source.name'")
        base.commit()
        base.execute("vacuum")


def pack(root: Path, archive: Path) -> None:
    """Write everything below a folder into an archive without owners and times."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mtime = END.timestamp()
        return entry

    with tarfile.open(archive, "w:xz", preset=9) as whole:
        for path in sorted(root.iterdir()):
            whole.add(path, path.name, filter=plain)


def show(what: str, result: Any) -> None:
    """Print what a job did."""
    print(what, result.model_dump_json()[:400], flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
