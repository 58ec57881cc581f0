"""Two variables of different units, and a weather model on a grid of its own: from source to scores."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipeline.config import Product, Settings, load_product
from pipeline.forecasting.notes import Note
from pipeline.jobs.check import check_product
from pipeline.jobs.retrain import RetrainResult
from pipeline.jobs.verify import VerifyResult
from pipeline.store.observations import Observations
from pipeline.workspace import Workspace
from tests import jobs
from tests.world import issue, make_settings

END = datetime(2020, 5, 10, tzinfo=UTC)
STEP = timedelta(hours=6)
TARGETS = ("air_temperature", "wind_speed")
WORLD = {
    "kind": "synthetic",
    "seed": 3,
    "start": "2020-01-01",
    "end": END.isoformat(),
    "chunk": "300d",
    "centre": [-7.0, 53.0],
    "length": 400.0,
    "memory": "1d",  # observations soon lose their value for the forecast
    "modes": 64,
}
PRODUCT: dict[str, Any] = {
    "name": "two-variables",
    "feed": {
        "source": {**WORLD, "published": True},
        "step": "6h",
        "delay": "1h",
        "mode": "archive",
        "locations": {"kind": "stations", "path": "stations.csv", "static": ["altitude"]},
        "variables": {name: {} for name in TARGETS},
    },
    "covariates": {
        "nwp": {
            # The same weather with errors of its own, two days ahead.
            "source": {**WORLD, "published": True, "ahead": "2d", "noise": 0.3, "bias": 0.2},
            "step": "6h",
            "mode": "archive",
            "locations": {
                "kind": "grid",
                "longitude": {"start": -10.0, "step": 1.5, "count": 6},
                "latitude": {"start": 55.0, "step": -1.0, "count": 4},
            },
            "variables": {name: {} for name in TARGETS},
        }
    },
    "forecast": {"targets": list(TARGETS), "context": 6, "horizon": 2},
    "training": {"candidates": ["gradient-boosting"], "window": "1y", "validation": 60, "budget": "5min"},
    "gate": {"issues": 80, "coverage_tolerance": 0.35},
    "schedule": {"forecast": "5 1,7,13,19 * * *"},
    "publish": [{"kind": "parquet"}, {"kind": "netcdf"}],
}


def make(folder: Path) -> Product:
    lines = [f"S{n},Station {n},{-9 + 1.1 * n:.1f},{52 + 0.4 * (n * 3 % 5):.1f},{10 * n}" for n in range(5)]
    (folder / "stations.csv").write_text("\n".join(["id,name,longitude,latitude,altitude", *lines]))
    path = folder / "product.yaml"
    path.write_text(yaml.safe_dump(json.loads(json.dumps(PRODUCT))))
    return load_product(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Product, Settings, RetrainResult]:
    """The product, ingested and trained two days before its end."""
    folder = tmp_path_factory.mktemp("covariates")
    product, settings = make(folder), make_settings(folder)
    ingested = jobs.ingest(Workspace(product, settings), at=END)
    assert ingested.faults == ingested.covariates["nwp"].faults == ()
    assert ingested.covariates["nwp"].added > ingested.added > 5 * 500
    return product, settings, jobs.retrain(Workspace(product, settings), at=END - 2 * timedelta(days=1))


@pytest.fixture(scope="module")
def verified(trained: tuple[Product, Settings, RetrainResult]) -> VerifyResult:
    """The forecasts of the last two days, scored."""
    product, settings, _ = trained
    jobs.forecast(Workspace(product, settings), since=END - timedelta(hours=40), at=END)
    return jobs.verify(Workspace(product, settings), at=END + timedelta(days=1))


def test_the_product_file_passes_the_check(tmp_path: Path) -> None:
    make(tmp_path)
    report = check_product(Workspace(load_product(tmp_path / "product.yaml"), make_settings(tmp_path)), at=END)
    assert (report["locations"], report["nwp: locations"]) == ("5 stations", "4 x 6 cells")
    assert "left out" not in report


def test_a_model_that_uses_the_covariate_is_promoted(trained: tuple[Product, Settings, RetrainResult]) -> None:
    product, settings, retrained = trained
    verdict = retrained.verdict
    assert verdict.promoted, verdict.reason
    rivals = {rival.rival: rival for rival in verdict.rivals}
    assert rivals["climatology"].crps == pytest.approx(1)  # of two variables, each in units of climatology's
    # No baseline uses the weather model.
    assert all(rival.skill > 0.3 and rival.beaten for rival in verdict.rivals)
    params = Workspace(product, settings).registry.client.get_run(retrained.run_id).data.metrics
    assert params["gradient-boosting/holdout_crps"] == pytest.approx(verdict.crps_by_lead[-1])
    per_variable = [params[f"gradient-boosting/holdout_crps/{name}"] for name in TARGETS]
    scales = [params[f"climatology/holdout_crps/{name}"] for name in TARGETS]
    assert per_variable[0] / scales[0] != pytest.approx(per_variable[1] / scales[1], rel=1e-3)
    mean = np.mean([one / scale for one, scale in zip(per_variable, scales, strict=True)])
    assert verdict.crps_by_lead[-1] == pytest.approx(mean, rel=0.05)  # the scale is a mean over both leads


def test_the_forecast_rests_most_on_the_covariates(trained: tuple[Product, Settings, RetrainResult]) -> None:
    product, settings, _ = trained
    result = jobs.explain(Workspace(product, settings), at=END - 2 * timedelta(days=1))
    assert not result.computed
    loss = {group.title: group for group in result.explanation.groups}
    assert {group.kind for group in loss.values()} == {"all", "location", "variable", "lag", "covariate"}
    assert loss["any covariate"].is_clear
    assert (loss["any covariate"].loss or 0) > 3 * (loss["any observation"].loss or 0)
    # Each variable rests on the covariate of its own name.
    own = [loss[f"{name} of nwp"].loss_by_variable for name in ("air temperature", "wind speed")]
    assert (own[0][0] or 0) > (own[1][0] or 0)
    assert (own[1][1] or 0) > (own[0][1] or 0)
    assert result.units == {"air_temperature": "degC", "wind_speed": "m s-1"}
    moved = [next(one for one in result.influences if one.variable == name) for name in TARGETS]
    assert {one.kind for one in moved} == {"covariate"}


def test_forecasts_are_verified_variable_by_variable(
    trained: tuple[Product, Settings, RetrainResult], verified: VerifyResult
) -> None:
    product, settings, _ = trained
    published = [score for score in verified.scores if score.model == "published"]
    assert {(score.variable, score.lead) for score in published} == {
        (name, lead) for name in TARGETS for lead in (1, 2)
    }
    assert verified.forecasts > 4
    skill = jobs.status(Workspace(product, settings), at=END).skill
    assert skill["climatology"] > 0.2
    assert skill["ridge-var"] > 0


def test_a_late_weather_model_does_not_stop_a_forecast(
    trained: tuple[Product, Settings, RetrainResult], verified: VerifyResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    product, settings, _ = trained
    when = END - timedelta(hours=5)
    fresh = issue(Workspace(product, settings), when)
    assert (fresh.forecast.made_by.fallback_level, fresh.forecast.notes) == (0, ())
    real = Observations.read

    def without(self: Observations, **asked: Any) -> Any:
        rows = real(self, **asked)
        return rows.slice(0, 0) if "/covariates/nwp/" in str(self.table.uri) else rows

    monkeypatch.setattr(Observations, "read", without)
    late = issue(Workspace(product, settings), when)
    assert late.forecast.made_by.model.name == "gradient-boosting"
    assert late.forecast.made_by.fallback_level == 1
    assert late.forecast.notes == (Note("missing_covariates", tuple(f"nwp.{name}" for name in TARGETS)),)
    assert np.isfinite(late.forecast.quantiles).all()
    assert not np.array_equal(late.forecast.quantiles, fresh.forecast.quantiles)
