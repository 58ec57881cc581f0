"""ERA5 2 m temperature over the British Isles, hourly: from a GRIB file to published, verified fields."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

from models.catalogue import MODELS
from pipeline.config import Product, Settings, load_product
from pipeline.jobs.retrain import RetrainResult
from pipeline.training.fit import baseline_names
from pipeline.workspace import Workspace
from tests import jobs
from tests.real.cases import CASES, PRODUCTS, data_folder
from tests.world import make_settings

DATA = data_folder()
pytestmark = pytest.mark.skipif(
    DATA is None or not (DATA / CASES["era5"]).exists(), reason=f"NIGHTCAST_REAL_DATA has no {CASES['era5']}"
)
ROWS, COLUMNS = 6, 8
TRAINED = datetime(2019, 3, 30, tzinfo=UTC)
END = datetime(2019, 3, 31, 23, tzinfo=UTC)
CANDIDATES = [name for name in ("attention-convlstm", "pooled-convolution") if name in MODELS]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Product, Settings, RetrainResult]:
    """About every fourth row and column of the field, all of it ingested, trained two days before its end."""
    folder = tmp_path_factory.mktemp("era5")
    shutil.copy(PRODUCTS / "era5.yaml", folder)
    (folder / "data").symlink_to(DATA or "")
    path = folder / "era5.yaml"
    fields = yaml.safe_load(path.read_text())
    fields["feed"]["locations"] |= {
        "latitude": {"start": 57.0, "step": -1.0, "count": ROWS},
        "longitude": {"start": -8.0, "step": 1.25, "count": COLUMNS},
    }
    fields |= {
        "forecast": {"targets": ["air_temperature"], "context": 12, "horizon": 3},
        "training": {
            "candidates": CANDIDATES,
            "options": {"attention-convlstm": {"epochs": 2, "hidden": 8}},
            "window": "1y",
            "validation": 72,
            "budget": "2min",
        },
        "gate": {"issues": 96},
        "schedule": {"forecast": "5 * * * *"},
        "publish": [{"kind": "parquet"}, {"kind": "netcdf"}],
    }
    path.write_text(yaml.safe_dump(fields))
    product, settings = load_product(path), make_settings(folder)
    ingested = jobs.ingest(Workspace(product, settings), at=END)
    assert (ingested.added, ingested.refused, ingested.faults) == (744 * ROWS * COLUMNS, 0, ())
    return product, settings, jobs.retrain(Workspace(product, settings), at=TRAINED)


def test_the_gate_compares_the_challenger_with_every_baseline_for_grids(
    trained: tuple[Product, Settings, RetrainResult],
) -> None:
    _, _, retrained = trained
    verdict = retrained.verdict
    assert verdict.challenger in CANDIDATES
    rivals = {rival.rival: rival for rival in verdict.rivals}
    assert set(rivals) == set(baseline_names(grid=True)) - {verdict.challenger}
    # In kelvin at leads of 1, 2 and 3 hours.
    assert 0.05 < verdict.crps_by_lead[0] < verdict.crps_by_lead[-1] < 1.5
    assert rivals["climatology"].skill > 0.3
    assert rivals["persistence"].skill > 0.2


def test_a_field_is_forecast_published_and_verified(trained: tuple[Product, Settings, RetrainResult]) -> None:
    product, settings, retrained = trained
    if not retrained.verdict.promoted:
        jobs.promote(
            Workspace(product, settings), version=retrained.version, who="test", why="to forecast with it", at=TRAINED
        )
    made = jobs.forecast(Workspace(product, settings), since=END - timedelta(hours=5), until=END, at=END)
    assert [one.fallback_level for one in made] == [0] * 5
    assert {one.model for one in made} == {retrained.verdict.challenger}
    (path,) = made[-1].folder.glob("*.nc")
    with xr.open_dataset(path, engine="netcdf4") as published:
        values = published["air_temperature"]
        assert values.dims == ("time", "latitude", "longitude", "quantile")
        assert values.shape == (3, ROWS, COLUMNS, len(product.forecast.quantiles))
        assert np.isfinite(values.to_numpy()).all()
        assert published["latitude"].values.tolist() == [57.0 - row for row in range(ROWS)]
        assert published["longitude"].values.tolist() == [-8.0 + 1.25 * column for column in range(COLUMNS)]
    verified = jobs.verify(Workspace(product, settings), at=END + timedelta(hours=1))
    published_scores = {score.lead: score for score in verified.scores if score.model == "published"}
    # Issued at 18:05 to 22:05, observed until 23:00: five values at lead 1, four at lead 2, three at lead 3.
    assert {lead: score.count for lead, score in published_scores.items()} == {
        lead: count * ROWS * COLUMNS for lead, count in ((1, 5), (2, 4), (3, 3))
    }
    assert published_scores[1].mae < 1.5


def test_a_window_holds_the_field_row_by_row(trained: tuple[Product, Settings, RetrainResult]) -> None:
    from tests.world import take_snapshot

    product, settings, _ = trained
    snapshot = take_snapshot(Workspace(product, settings), known_by=END, since=END - timedelta(hours=20))
    assert snapshot.task.grid == (ROWS, COLUMNS)
    window = snapshot.windows([END], truth_at=END).inputs(np.array([0]))
    field = window.values[0, -1, 0].reshape(snapshot.task.grid)
    with np.load((DATA or Path()) / "era5_uk_t2m_hourly" / "era5_uk_t2m_201903.npz") as arrays:
        whole = arrays["t2m"][-1] - 273.15
    np.testing.assert_allclose(field, whole[4 : 4 + 4 * ROWS : 4, 8 : 8 + 5 * COLUMNS : 5], atol=1e-3)
