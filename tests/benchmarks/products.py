"""Products on real data sets, and a large synthetic one, each in a folder of its own with everything ingested.

ws = open_product("irish-wind", folder)          # needs NIGHTCAST_REAL_DATA, except for "synthetic"
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from pipeline.config import load_product
from pipeline.jobs.ingest import ingest
from pipeline.workspace import Workspace
from tests.real.cases import NOW, PRODUCTS, write_days
from tests.world import make_product, make_settings

Fields = dict[str, Any]


def irish_wind(folder: Path, data: Path) -> Fields:
    """Daily wind at 12 stations, 18 years."""
    return _real("irish-wind", folder, data) | {
        "forecast": {"targets": ["wind_speed"], "context": 14, "horizon": 3},
        "training": {"window": "12y"},
        "schedule": {"forecast": "0 7 * * *"},
    }


def era5(folder: Path, data: Path) -> Fields:
    """Hourly temperature on 1,617 cells, one month."""
    return _real("era5", folder, data) | {
        "forecast": {"targets": ["air_temperature"], "context": 24, "horizon": 24},
        "training": {"candidates": ["attention-convlstm", "pooled-convolution"]},
        "schedule": {"forecast": "5 */3 * * *"},
    }


def auckland(folder: Path, data: Path) -> Fields:
    """Hourly pedestrian counts at 21 sensors, 7 years."""
    return _real("auckland", folder, data) | {
        "forecast": {"targets": ["pedestrian_count"], "context": 168, "horizon": 24},
        "training": {"window": "3y"},
        "schedule": {"forecast": "45 * * * *"},
    }


def metr_la(folder: Path, data: Path) -> Fields:
    """Speed of traffic every 5 minutes at 207 sensors, one week."""
    places = pd.read_csv(data / "metr_la_week_losloop" / "graph_sensor_locations.csv")
    columns = {"sensor_id": "id", "latitude": "latitude", "longitude": "longitude"}
    places.rename(columns=columns)[list(columns.values())].assign(name=places["sensor_id"]).to_csv(
        folder / "stations.csv", index=False
    )
    return {
        "name": "metr-la",
        "feed": {
            "source": {
                "kind": "files",
                "path": "data/metr_la_week_losloop/los_speed_2012-03-01_07.parquet",
                "format": "parquet",
                "layout": "wide",
                "time": {"columns": ["time"]},
            },
            "step": "5min",
            "mode": "archive",
            "locations": {"kind": "stations", "path": "stations.csv"},
            "variables": {"speed": {"units": "mph", "limits": [0, 100]}},
        },
        "forecast": {"targets": ["speed"], "context": 12, "horizon": 12},
        "schedule": {"forecast": "*/15 * * * *"},
    }


def agulhas(folder: Path, data: Path) -> Fields:
    """Daily surface current, both components on 3,321 cells, one year."""
    write_days(data / "globcurrent_agulhas_daily" / "globcurrent_agulhas_2002.npz", folder / "days")
    both = ["eastward_sea_water_velocity", "northward_sea_water_velocity"]
    return _real("agulhas", folder, data) | {
        "forecast": {"targets": both, "context": 7, "horizon": 7},
        "training": {"candidates": ["attention-convlstm", "linear-inverse"]},
        "schedule": {"forecast": "0 7 * * *"},
    }


CASES: dict[str, Callable[[Path, Path], Fields]] = {
    "irish-wind": irish_wind,
    "era5": era5,
    "auckland": auckland,
    "metr-la": metr_la,
    "agulhas": agulhas,
}
SYNTHETIC = "synthetic"
"""100 stations, two years, hourly."""


def open_product(case: str, folder: Path, **fields: Any) -> Workspace:
    """Return a product with its whole record ingested; `fields` replace parts of the product file.

    A folder that an earlier call has filled is not filled again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "product.yaml"
    if not path.exists():
        _write(case, folder)
    if fields:
        document = yaml.safe_load(path.read_text())
        for name, part in fields.items():
            document[name] = document.get(name, {}) | part if isinstance(part, dict) else part
        path.write_text(yaml.safe_dump(document, sort_keys=False))
    ws = Workspace(load_product(path), make_settings(folder))
    ingest(ws, at=NOW)
    return ws


def end_of_record(ws: Workspace) -> datetime:
    """Return the time by which the whole record was known."""
    newest = ws.feed.observations.read(known_by=NOW)["known_at"].to_numpy().max()
    known: datetime = pd.Timestamp(newest, tz=UTC).to_pydatetime()
    return known


def _write(case: str, folder: Path) -> None:
    if case == SYNTHETIC:
        make_product(
            folder,
            stations=100,
            days=730,
            step="1h",
            delay="30min",
            context=48,
            horizon=24,
            training={"candidates": ["attention-convlstm", "ridge-var"], "validation": None, "window": "3y"},
            gate={"issues": None, "significance": 0.05},
        )
        return
    data = Path(os.environ["NIGHTCAST_REAL_DATA"])
    (folder / "data").symlink_to(data)
    document = CASES[case](folder, data)
    (folder / "product.yaml").write_text(yaml.safe_dump(document, sort_keys=False))


def _real(case: str, folder: Path, data: Path) -> Fields:
    fields: Fields = yaml.safe_load((PRODUCTS / f"{case}.yaml").read_text())
    return fields
