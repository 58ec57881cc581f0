"""Tables of a weather model as covariates: from a CSV file to the store."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.config import Feed, load_product
from pipeline.errors import ConfigError
from pipeline.features.covariates import load_covariate
from pipeline.ingest.feed import OpenFeed
from pipeline.ingest.sources import Payload, open_source
from pipeline.locations import Locations
from pipeline.workspace import Workspace
from tests import jobs
from tests.unit.ingest.conftest import MakeProduct
from tests.world import make_product, make_settings

WIDE = "time,run,A,B\n2020-01-01 06:00,2020-01-01 00:30,1,2\n2020-01-01 12:00,,3,4\n"
LONG = "time,location,run,wind_speed\n2020-01-01 06:00,A,2020-01-01 00:30,1\n2020-01-01 12:00,A,,3\n"
KNOWN = datetime(2020, 1, 1, 0, 30, tzinfo=UTC)


def covariate(make: MakeProduct, **source: Any) -> Feed:
    product = make(**source)
    return product.feed.within("test", "nwp", product.folder)


@pytest.mark.parametrize(
    ("layout", "text", "values"), [("wide", WIDE, {"A": 1.0, "B": 2.0}), ("long", LONG, {"A": 1.0})]
)
def test_rows_without_known_at_are_refused(
    make_product: Any, locations: Locations, layout: str, text: str, values: dict[str, float]
) -> None:
    feed = covariate(make_product, layout=layout, known_at="run")
    decoded = open_source(feed, locations).decode(Payload.of("x.csv", text.encode()))
    rows = decoded.rows.to_pylist()
    assert {row["location"]: row["wind_speed"] for row in rows} == values
    assert {row["known_at"] for row in rows} == {KNOWN}
    assert decoded.refused["reason"].to_pylist() == [
        "run has no time stamp, so it is unknown when the row became known"
    ]
    assert json.loads(decoded.refused["values"][0].as_py())["time"] == "2020-01-01 12:00"


def test_parquet_with_typed_instants_is_read_alike(make_product: Any, locations: Locations, tmp_path: Path) -> None:
    stamp = pa.timestamp("ns", tz="UTC")
    table = pa.table(
        {"time": pa.array([KNOWN + timedelta(hours=6)], stamp), "run": pa.array([KNOWN], stamp), "A": [1.0]}
    )
    pq.write_table(table, tmp_path / "x.parquet")
    feed = covariate(make_product, format="parquet", known_at="run", step="30min")
    decoded = open_source(feed, locations).decode(Payload.of("x", (tmp_path / "x.parquet").read_bytes()))
    assert [row["known_at"] for row in decoded.rows.to_pylist()] == [KNOWN]


def test_known_at_may_be_the_time_column(make_product: Any, locations: Locations) -> None:
    feed = covariate(make_product, known_at="time")
    decoded = open_source(feed, locations).decode(Payload.of("x", b"time,A\n2020-01-01 06:00,1\n"))
    (row,) = decoded.rows.to_pylist()
    assert row["known_at"] == row["valid_time"]


def test_a_covariate_needs_the_column(make_product: Any, locations: Locations) -> None:
    with pytest.raises(ConfigError, match=r"test\.nwp: source\.known_at: missing, .*; name the column"):
        open_source(covariate(make_product), locations)


def test_files_of_arrays_have_no_known_at_column(make_product: Any) -> None:
    with pytest.raises(ValueError, match="known_at: 'run' is for tables, and format is netcdf"):
        make_product(format="netcdf", layout="long", known_at="run")


def test_a_csv_of_a_weather_model_is_ingested_and_seen_as_of_its_runs(tmp_path: Path) -> None:
    make_product(tmp_path, stations=2, days=30)  # daily, to 30 January 2001
    fields = yaml.safe_load((tmp_path / "product.yaml").read_text())
    fields["covariates"] = {
        "nwp": {
            "source": {"kind": "files", "path": "nwp/*.csv", "format": "csv", "layout": "wide", "known_at": "run"},
            "step": "1d",
            "mode": "archive",
            "locations": dict(fields["feed"]["locations"]),
            "variables": {"wind_speed": {}},
        }
    }
    (tmp_path / "product.yaml").write_text(yaml.safe_dump(fields))
    (tmp_path / "nwp").mkdir()
    # Two runs tell of 12 January: the second, of the 11th, is nearer.
    (tmp_path / "nwp" / "1.csv").write_text("run,time,S0,S1\n2001-01-10 03:00,2001-01-12,5,6\n")
    (tmp_path / "nwp" / "2.csv").write_text("run,time,S0,S1\n2001-01-11 03:00,2001-01-12,7,8\n")
    product, settings = load_product(tmp_path / "product.yaml"), make_settings(tmp_path)
    taken = jobs.ingest(Workspace(product, settings), at=datetime(2001, 2, 1, tzinfo=UTC)).covariates["nwp"]
    assert (taken.added + taken.revised, taken.refused, taken.faults) == (4, 0, ())

    def seen(day: int, hour: int) -> list[float]:
        at = datetime(2001, 1, day, hour, tzinfo=UTC)
        covariate = load_covariate(
            OpenFeed(product.covariates["nwp"], settings), known_by=at, since=at, until=at + timedelta(days=3)
        )
        values, mask = covariate.values_and_mask(_us(at), _us(datetime(2001, 1, 12, tzinfo=UTC))[None])
        found: list[float] = values[0, 0, 0][mask[0, 0, 0]].tolist()
        return found

    assert seen(10, 2) == []
    assert seen(10, 4) == [5, 6]
    assert seen(11, 4) == [7, 8]


def _us(at: datetime) -> Any:
    return np.array([at.replace(tzinfo=None)], "datetime64[us]")
