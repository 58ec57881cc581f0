"""A home made by an earlier release still works: stores, ledger, registered bundles. README.md says how it was made."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.cli import main
from pipeline.config import settings

RELEASE = "v0.1"
FOLDER = Path(__file__).parent
RECORDED: dict[str, Any] = json.loads((FOLDER / f"{RELEASE}.json").read_text("utf-8"))
"""What the code of the release printed and forecast."""
END = RECORDED["champion"]["at"]
LEVEL = "fallback_level"
"""Name of the fallback level in JSON output; 0 is the champion."""
PATHS = {
    "experiments": "artifact_location",
    "runs": "artifact_uri",
    "logged_models": "artifact_location",
    "model_versions": "storage_location",
    "datasets": "dataset_source",
}
"""Columns of the MLflow database that hold absolute paths, by table."""


@dataclass(frozen=True)
class OldHome:
    """The unpacked home, and the command line to work on it."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def mlflow(self) -> str:
        return f"sqlite:///{self.home / 'mlflow' / 'mlflow.db'}"

    def run(self, command: str, *arguments: object, product: str = "tiny-wind", codes: tuple[int, ...] = (0,)) -> Any:
        """Run a command in this process and return the JSON it prints."""
        self.capsys.readouterr()
        words = [*command.split(), str(self.folder / f"{product}.yaml"), *map(str, arguments), "--json"]
        with pytest.raises(SystemExit) as ended:
            main(words)
        printed = self.capsys.readouterr()
        assert int(ended.value.code or 0) in codes, printed.err
        return json.loads(printed.out)

    def assert_forecasts(self, expected: dict[str, Any], *, product: str = "tiny-wind") -> None:
        """Forecast the issue time of a recorded forecast and assert that the new one is equal."""
        (done,) = self.run("forecast", "--at", expected["at"], product=product)
        assert (done[LEVEL], done["repeated"]) == (expected["rung"], False)
        for name in ("issue_time", "model", "version", "digest"):
            assert done[name] == expected[name]
        table = pd.read_parquet(Path(done["folder"]) / "forecast.parquet").sort_values(["valid_time", "location"])
        assert table["location"].to_list() == expected["location"]
        quantiles = table[[name for name in table.columns if name.startswith("q")]].to_numpy().tolist()
        assert quantiles == [pytest.approx(row, rel=1e-4) for row in expected["quantiles"]]


def select(rows: list[dict[str, Any]], names: tuple[str, ...]) -> list[list[Any]]:
    """Return some fields of each row."""
    return [[row[name] for name in names] for row in rows]


@pytest.fixture
def old_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[OldHome]:
    with tarfile.open(FOLDER / f"{RELEASE}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    old = OldHome(tmp_path, capsys)
    with closing(sqlite3.connect(old.home / "mlflow" / "mlflow.db")) as base:
        for table, column in PATHS.items():
            base.execute(
                f"update {table} set {column} = replace({column}, ?, ?)",  # noqa: S608 - our own names
                (RECORDED["root"], str(tmp_path)),
            )
        base.commit()
    for name in [name for name in os.environ if name.startswith("NIGHTCAST_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NIGHTCAST_HOME", str(old.home))
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    yield old
    settings.cache_clear()


@pytest.mark.parametrize("product", ["tiny-wind", "tiny-grid"])
def test_status_models_and_quarantine_are_as_recorded(old_home: OldHome, product: str) -> None:
    recorded = RECORDED[product]
    status = old_home.run("status", "--at", END, product=product)
    for name in ("state", "champion", "model", "observations", "newest", "refused", "last_issue"):
        assert status[name] == recorded["status"][name]
    assert status[LEVEL] == recorded["status"]["rung"]
    assert status["skill"] == pytest.approx(recorded["status"]["skill"])

    models = old_home.run("models", product=product)
    names: tuple[str, ...] = ("version", "model", "aliases", "digest", "trained_until", "crps")
    assert select(models["versions"], names) == select(recorded["models"]["versions"], names)
    names = ("at", "action", "version", "previous", "who", "why")
    assert select(models["ledger"], names) == select(recorded["models"]["ledger"], names)

    quarantine = old_home.run("quarantine list", product=product)
    for name in ("released", "dropped"):
        assert quarantine[name] == recorded["quarantine"][name]
    names = ("feed", "rows", "first", "last", "example")  # not the reason: its wording may change
    assert select(quarantine["groups"], names) == select(recorded["quarantine"]["groups"], names)


def test_the_champion_forecasts_the_same(old_home: OldHome) -> None:
    old_home.assert_forecasts(RECORDED["champion"])


def test_a_version_promoted_by_hand_forecasts_the_same(old_home: OldHome) -> None:
    old_home.run("promote", 2, "--why", "to compare")
    old_home.assert_forecasts(RECORDED["other"])
    back = old_home.run("rollback", "--why", "compared")
    assert (back["version"], back["previous"]) == (1, 2)


def test_a_bundle_is_fetched_from_the_registry(old_home: OldHome) -> None:
    shutil.rmtree(old_home.home / "products" / "tiny-wind" / "models")
    old_home.assert_forecasts(RECORDED["champion"])


def test_without_a_champion_the_best_baseline_forecasts_the_same(old_home: OldHome) -> None:
    old_home.assert_forecasts(RECORDED["grid"], product="tiny-grid")


@pytest.mark.parametrize("product", ["tiny-wind", "tiny-grid"])
def test_verification_gives_the_recorded_scores(old_home: OldHome, product: str) -> None:
    recorded = RECORDED[product]["verify"]
    verified = old_home.run("verify", "--at", END, product=product)
    assert (verified["forecasts"], verified["scored"]) == (recorded["forecasts"], recorded["scored"])
    assert len(verified["scores"]) == len(recorded["scores"])
    for found, expected in zip(verified["scores"], recorded["scores"], strict=True):
        for name in ("model", "variable", "lead", "count"):
            assert found[name] == expected[name]
        for name in ("crps", "mae", "rmse", "bias", "coverage"):
            assert found[name] == pytest.approx(expected[name])


def test_a_published_forecast_is_not_made_again(old_home: OldHome) -> None:
    published = old_home.home / "products" / "tiny-wind" / "published" / "latest"
    before = {path.name: path.read_bytes() for path in published.iterdir()}
    assert set(before) == {"forecast.json", "forecast.nc", "forecast.parquet", "forecast.svg", "report.html"}
    (again,) = old_home.run("forecast", "--at", RECORDED["tiny-wind"]["status"]["last_issue"])
    assert again["repeated"]
    assert {path.name: path.read_bytes() for path in published.iterdir()} == before


@pytest.mark.parametrize("product", ["tiny-wind", "tiny-grid"])
def test_an_ingest_finds_nothing_new(old_home: OldHome, product: str) -> None:
    again = old_home.run("ingest", "--at", END, product=product)
    assert (again["payloads"], again["faults"]) == (0, [])
    assert [feed["payloads"] for feed in again["covariates"].values()] == [0] * (product == "tiny-wind")


def test_a_refused_row_is_released_from_its_payload(old_home: OldHome) -> None:
    done = old_home.run("quarantine release", "--reason", "outside", "--override", "--why", "checked")
    assert (done["rows"], done["added"]) == (1, 1)
    status, recorded = old_home.run("status", "--at", END), RECORDED["tiny-wind"]["status"]
    assert status["observations"] == recorded["observations"] + 1
    assert status["refused"] == recorded["refused"] - 1


@pytest.mark.parametrize("product", ["tiny-wind", "tiny-grid"])
def test_maintenance_finds_no_damage(old_home: OldHome, product: str) -> None:
    maintained = old_home.run("maintain", product=product)
    assert maintained["damage"] == []
    assert maintained["payloads"] == len(list((old_home.home / "products" / product).rglob("raw/*/*.zst")))
    assert {table["table"].rpartition(" ")[2] for table in maintained["tables"]} >= {
        "observations",
        "forecasts",
        "scores",
        "ledger",
    }
    status = old_home.run("status", "--at", END, product=product)
    assert status["observations"] == RECORDED[product]["status"]["observations"]


def test_a_retrain_compares_with_the_champion(old_home: OldHome) -> None:
    done = old_home.run("retrain", "--at", END, codes=(0, 4))  # a library may shift the scores
    assert (done["version"], done["repeated"]) == (3, False)
    assert done["champion"] == (1 if done["verdict"]["decision"] == "refused" else 3)
    assert "champion version 1" in [rival["rival"] for rival in done["verdict"]["rivals"]]
    assert [row["version"] for row in old_home.run("models")["ledger"]] == [3, 1, 2, 1]


def test_the_registered_champion_loads_in_mlflow_and_predicts_the_same(old_home: OldHome) -> None:
    import mlflow

    mlflow.set_tracking_uri(old_home.mlflow)
    mlflow.set_registry_uri(old_home.mlflow)
    observations = pd.DataFrame(RECORDED["observations"])
    observations["valid_time"] = pd.to_datetime(observations["valid_time"]).dt.tz_localize(None)
    found = mlflow.pyfunc.load_model("models:/tiny-wind@champion").predict(observations)
    expected = pd.DataFrame(RECORDED["loaded"])
    expected["valid_time"] = pd.to_datetime(expected["valid_time"], utc=True)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-4, check_dtype=False)
