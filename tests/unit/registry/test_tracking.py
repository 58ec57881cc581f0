from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.numpy import load

from pipeline.config import Settings
from pipeline.registry.tracking import Registry, TrackingError
from pipeline.training.fit import baseline_names
from tests import jobs
from tests.conftest import ProductHome, Trained

UNREACHABLE = "http://127.0.0.1:1"


@pytest.fixture
def no_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def _run(trained: Trained) -> Any:
    return trained.workspace.registry.client.get_run(trained.retrained.run_id)


def _history(trained: Trained, metric: str) -> list[tuple[int, float]]:
    client = trained.workspace.registry.client
    found = client.get_metric_history(trained.retrained.run_id, metric)
    return sorted((one.step, one.value) for one in found)


def _artifacts(trained_once: Trained) -> list[Path]:
    """The files of its own run and model: those of tests that retrain a copy lie beside them."""
    root = trained_once.settings.home / "mlflow" / "artifacts"
    model = trained_once.workspace.registry.version(1).source.rsplit("/", 1)[-1]
    own = {trained_once.retrained.run_id, model}
    return [path for path in root.rglob("*") if path.is_file() and own & set(path.parts)]


def test_the_version_carries_its_aliases_and_tags(trained: Trained) -> None:
    registry = trained.workspace.registry
    (version,) = registry.versions()
    assert (version.version, version.model) == (1, "ridge-var")
    assert set(version.aliases) == {"champion", "challenger", "fallback"}
    assert version.digest == trained.retrained.digest
    assert version.crps == trained.retrained.verdict.crps
    assert (version.verdict, version.reason) == ("promoted", trained.retrained.verdict.reason)
    assert version.trained_until == trained.retrained.verdict.until  # nothing newer has matured
    assert int(registry.client.get_model_version_by_alias("tiny-wind", "champion").version) == 1


def test_metrics_have_one_step_per_lead(trained: Trained) -> None:
    verdict = trained.retrained.verdict
    assert _history(trained, "ridge-var/holdout_crps") == list(enumerate(verdict.crps_by_lead, 1))
    climatology = next(rival for rival in verdict.rivals if rival.rival == "climatology")
    assert _history(trained, "climatology/holdout_crps") == list(enumerate(climatology.crps_by_lead, 1))
    assert [one.nominal for one in verdict.intervals] == [0.9, 0.8, 0.5]
    for one in verdict.intervals:
        assert _history(trained, f"ridge-var/holdout_coverage_{100 * one.nominal:g}") == list(enumerate(one.by_lead, 1))
    for score in ("mae", "rmse", "bias", "coverage"):
        assert [step for step, _ in _history(trained, f"persistence/holdout_{score}")] == [1, 2]


def test_a_run_has_the_parameters_the_verdict_and_a_plot(trained: Trained, trained_once: Trained) -> None:
    run = _run(trained)
    assert run.info.status == "FINISHED"
    assert run.data.params["snapshot"] == trained.retrained.snapshot
    assert run.data.params["challenger"] == "ridge-var"
    assert run.data.params["holdout_issues"] == "60"
    files = {path.name: path for path in _artifacts(trained_once)}
    assert files["holdout_skill.svg"].read_text().startswith("<svg")
    assert json.loads(files["gate.json"].read_text())["promotion"]["promoted"] is True


def test_the_losses_of_every_fit_are_metrics(trained: Trained) -> None:
    for name in ("ridge-var", "climatology", "persistence"):
        ((epoch, loss),) = _history(trained, f"{name}/train_loss")
        assert epoch == 1
        assert loss > 0
    ((_, refit),) = _history(trained, "ridge-var on all data/train_loss")
    assert refit == pytest.approx(_history(trained, "ridge-var/train_loss")[0][1], rel=0.2)


def test_lineage_has_the_version_of_the_delta_table(trained: Trained) -> None:
    (used,) = _run(trained).inputs.dataset_inputs
    assert used.dataset.name == "tiny-wind-observations"
    assert used.dataset.digest == trained.retrained.snapshot[:32]
    source = json.loads(used.dataset.source)
    table = trained.workspace.feed.observations.table
    assert used.dataset.source_type == "delta_table"
    assert source["delta_table_version"] == table.version
    assert source["path"].endswith("/products/tiny-wind/observations")
    assert [(tag.key, tag.value) for tag in used.tags] == [("mlflow.data.context", "training")]


def test_the_model_is_logged_without_pickle(trained_once: Trained) -> None:
    files = _artifacts(trained_once)
    assert {path.suffix for path in files} <= {"", ".json", ".safetensors", ".txt", ".yaml", ".py", ".svg"}
    weights = [path for path in files if path.suffix == ".safetensors"]
    assert len(weights) == 2 * len(baseline_names(grid=False)) + 1  # and the corrections
    assert all(load(path.read_bytes()) for path in weights)
    (card,) = [path for path in files if path.name == "MLmodel"]
    flavour = yaml.safe_load(card.read_text())["flavors"]["python_function"]
    assert flavour["loader_module"] == "mlflow.pyfunc.loaders.code_model"
    assert "python_model" not in flavour
    assert flavour["model_code_path"].endswith("/mlflow_model.py")


def test_the_registered_model_forecasts_what_serving_does(trained: Trained) -> None:
    import mlflow

    (served,) = jobs.forecast(trained.workspace, at=trained.end)
    rows = trained.workspace.forecasts.read(served.issue_time).to_pandas()
    expected = rows[rows["published"]].sort_values(["valid_time", "variable", "location"])
    known = trained.workspace.feed.observations.read(known_by=served.issue_time).to_pandas()
    observations = known[["valid_time", "location", "known_at", "wind_speed"]].assign(
        valid_time=known["valid_time"].dt.tz_localize(None), known_at=known["known_at"].dt.tz_localize(None)
    )

    mlflow.set_registry_uri(trained.workspace.registry.uri)
    model = mlflow.pyfunc.load_model("models:/tiny-wind@champion")
    found = model.predict(observations, params={"issue_time": served.issue_time.isoformat()})
    found = found.sort_values(["valid_time", "variable", "location"])
    levels = [name for name in found.columns if name.startswith("q0")]
    assert levels == [f"q{level:g}" for level in trained.product.forecast.quantiles]
    np.testing.assert_array_equal(found[levels].to_numpy(np.float32), np.stack(expected["quantiles"].tolist()))
    assert pd.to_datetime(found["valid_time"], utc=True).tolist() == expected["valid_time"].tolist()
    assert found["location"].tolist() == expected["location"].tolist()


def test_the_issue_time_defaults_to_when_the_newest_row_became_known(trained: Trained) -> None:
    from pipeline.registry.standalone import Forecaster

    forecaster = Forecaster(trained.root / "models" / trained.retrained.digest)
    known = trained.workspace.feed.observations.read().to_pandas()
    found = forecaster.forecast(known[["valid_time", "location", "wind_speed"]].tail(40))
    newest = known["valid_time"].max()
    assert found["valid_time"].min() == newest + pd.Timedelta(1, "D")
    with pytest.raises(Exception, match="observations is empty"):
        forecaster.forecast(known[["valid_time", "location", "wind_speed"]].head(0))


def test_a_product_without_versions_is_not_an_error(fresh: Callable[..., ProductHome]) -> None:
    registry = fresh(days=10).workspace.registry
    assert registry.versions() == []
    assert registry.by_alias("champion") is None


def test_a_missing_version_is_a_tracking_error(trained: Trained) -> None:
    with pytest.raises(TrackingError, match="version=7"):
        trained.workspace.registry.version(7)


@pytest.mark.usefixtures("no_retries")
def test_a_server_that_cannot_be_reached_is_a_tracking_error(tmp_path: Path) -> None:
    settings = Settings.model_construct(home=tmp_path, tracking_uri=UNREACHABLE, threads=1, secrets={})
    registry = Registry("tiny-wind", settings.mlflow_uri, artifacts=settings.home / "mlflow" / "artifacts")
    for call in (registry.versions, lambda: registry.by_alias("champion"), lambda: registry.set_alias("champion", 1)):
        with pytest.raises(TrackingError, match=r"^MLflow at http://127\.0\.0\.1:1: ") as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_store_that_is_no_database_is_a_tracking_error(trained: Trained) -> None:
    (trained.settings.home / "mlflow" / "mlflow.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(TrackingError):
        trained.workspace.registry.by_alias("champion")


def test_a_run_that_raises_is_marked_as_failed(trained: Trained) -> None:
    registry = trained.workspace.registry
    with pytest.raises(ValueError, match="broken"), registry.run("retrain", "key") as run:
        number = run.run_id
        raise ValueError("broken")
    assert registry.client.get_run(number).info.status == "FAILED"


@pytest.mark.usefixtures("no_retries")
def test_retries_of_a_server_that_is_down_are_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in ("MAX_RETRIES", "BACKOFF_FACTOR", "TIMEOUT"):
        monkeypatch.delenv(f"MLFLOW_HTTP_REQUEST_{name}", raising=False)
    with pytest.raises(TrackingError):
        Registry("tiny-wind", UNREACHABLE, artifacts=tmp_path).versions()
    assert int(os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]) <= 3
    assert int(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]) <= 30


def test_a_version_registered_by_another_program_has_defaults(trained: Trained) -> None:
    registry = trained.workspace.registry
    version = registry.client.create_model_version("tiny-wind", "models:/tiny-wind/1")
    found = registry.version(int(version.version))
    assert (found.digest, found.model, found.crps, found.verdict, found.reason) == ("", "unknown", None, None, "")
    assert found.trained_until == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("tag", "verdict", "reason"),
    [
        ("promoted: first champion, best of all", "promoted", "first champion, best of all"),
        ("refused: worse than a: b at lead 2", "refused", "worse than a: b at lead 2"),
        ("hello", None, ""),
    ],
)
def test_verdict_tags_of_earlier_releases_are_read(
    trained: Trained, tag: str, verdict: str | None, reason: str
) -> None:
    registry = trained.workspace.registry
    version = registry.client.create_model_version("tiny-wind", "models:/tiny-wind/1", tags={"nightcast.verdict": tag})
    found = registry.version(int(version.version))
    assert (found.verdict, found.reason) == (verdict, reason)


def test_options_of_models_are_recorded_whole_beside_parameters_that_may_be_cut(trained: Trained) -> None:
    run = _run(trained)
    assert json.loads(run.data.params["options.ridge-var"]) == {"lags": None, "memory": True}
    assert json.loads(run.data.params["options.persistence"]) == {}
    found = [path for path in _artifacts(trained) if path.name == "options.json"]
    assert [json.loads(path.read_text())["ridge-var"] for path in found] == [{"lags": None, "memory": True}]


def test_any_number_of_parameters_of_any_length_is_recorded(trained: Trained) -> None:
    registry = trained.workspace.registry
    with registry.run("long", "long") as run:
        run.log_parameters({f"{n}-{'n' * 300}": "v" * 9000 for n in range(230)})
    params = registry.client.get_run(run.run_id).data.params
    assert len(params) == 230
    assert {len(value) for value in params.values()} == {500}
    assert {len(name) for name in params} == {250}


def test_a_run_that_raises_says_why(trained: Trained) -> None:
    registry = trained.workspace.registry
    with pytest.raises(ValueError, match="broken"), registry.run("retrain", "key") as run:
        raise ValueError("broken\nsecond line")
    assert registry.client.get_run(run.run_id).data.tags["nightcast.error"] == "broken"


def test_a_run_whose_process_was_killed_does_not_claim_to_run_for_ever(trained: Trained) -> None:
    registry = trained.workspace.registry
    experiment = registry.client.get_run(trained.retrained.run_id).info.experiment_id
    old, young = (registry.client.create_run(experiment, start_time=ms).info.run_id for ms in (1_000, 9_000))
    assert registry.end_lost_runs(datetime.fromtimestamp(5, UTC)) == 1
    assert registry.client.get_run(old).info.status == "KILLED"
    assert registry.client.get_run(young).info.status == "RUNNING"
    assert registry.client.get_run(trained.retrained.run_id).info.status == "FINISHED"
