"""The job `explain`, and what a retrain and a forecast do with the explanation."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from models.errors import ModelError
from pipeline.cli import main
from pipeline.config import settings
from pipeline.errors import NoDataError, UsageError
from pipeline.forecasting.publish import report_basis
from pipeline.registry.explanations import read_explanation
from pipeline.training.explanation import explain as explaining
from pipeline.training.explanation.facts import Explanation
from tests import jobs
from tests.conftest import ProductHome, Trained

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def nightcast(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """Runs one command for a product in this process; returns its exit code and what it printed."""

    def run(place: ProductHome, *arguments: str) -> tuple[int, str]:
        monkeypatch.setenv("NIGHTCAST_HOME", str(place.settings.home))
        monkeypatch.setenv("COLUMNS", "160")
        settings.cache_clear()
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([arguments[0], str(place.file), *arguments[1:]])
        return int(caught.value.code or 0), capsys.readouterr().out

    yield run
    settings.cache_clear()


@pytest.fixture
def unexplained(fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch) -> ProductHome:
    """A product whose champion could not be explained when it was trained."""
    place = fresh()

    def fail(*_: Any) -> Explanation:
        raise ModelError("the device is lost")

    with monkeypatch.context() as patch:
        patch.setattr(explaining, "explain", fail)
        result = jobs.retrain(place.workspace, at=place.end)
    assert result.verdict.promoted
    assert result.warnings == ("ridge-var cannot be explained: the device is lost",)
    return place


def test_a_retrain_records_the_explanation_in_the_bundle_and_in_mlflow(trained: Trained) -> None:
    ws = trained.workspace
    found, _ = ws.bundles.find("champion")
    assert found is not None
    recorded = read_explanation(found.bundle)
    assert recorded is not None
    assert found.bundle.card["explanation"] == recorded.model_dump(mode="json")
    assert recorded.model == "ridge-var"
    run = ws.registry.client.get_run(trained.retrained.run_id)
    artifacts = {one.path for one in ws.registry.client.list_artifacts(run.info.run_id)}
    assert "explanation.json" in artifacts
    plots = {one.path for one in ws.registry.client.list_artifacts(run.info.run_id, "plots")}
    assert "plots/explanation.svg" in plots
    logged = ws.registry.mlflow.artifacts.load_text(f"{run.info.artifact_uri}/explanation.json")
    assert Explanation.model_validate_json(logged) == recorded


def test_the_recorded_explanation_is_shown_with_what_moves_the_newest_forecast(trained: Trained) -> None:
    result = jobs.explain(trained.workspace, at=trained.end)
    assert (result.version, result.computed, result.note) == (1, False, "")
    assert result.explanation.groups[0].title == "any input"
    assert result.issue_time == trained.workspace.cadence.latest_issue(trained.end)
    assert result.influences[0].variable == "wind_speed"
    assert result.influences[0].mean_change > 0
    assert {one.place for one in result.influences} <= {f"Station {n}" for n in range(4)}
    assert jobs.explain(trained.workspace, version=1, at=trained.end) == result


def test_a_version_without_an_explanation_gets_one_and_keeps_it(unexplained: ProductHome) -> None:
    first = jobs.explain(unexplained.workspace, at=unexplained.end)
    second = jobs.explain(unexplained.workspace, at=unexplained.end)
    assert (first.computed, second.computed) == (True, False)
    assert first.explanation == second.explanation
    assert first.explanation.issues == 60


def test_what_is_computed_later_equals_what_a_retrain_records(trained: Trained, unexplained: ProductHome) -> None:
    recorded = jobs.explain(trained.workspace, at=trained.end).explanation
    assert jobs.explain(unexplained.workspace, at=unexplained.end).explanation == recorded


def test_without_a_champion_or_the_version_there_is_nothing_to_explain(
    trained: Trained, fresh: Callable[..., ProductHome]
) -> None:
    with pytest.raises(UsageError, match="no version 7; `nightcast models` lists all versions"):
        jobs.explain(trained.workspace, version=7, at=trained.end)
    place = fresh()
    with pytest.raises(UsageError, match="no champion yet; run `nightcast retrain`"):
        jobs.explain(place.workspace, at=place.end)


def test_a_newest_forecast_that_cannot_be_made_is_a_note(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise NoDataError("nothing was known")

    monkeypatch.setattr("pipeline.jobs.explain.influences_at_issue", fail)
    result = jobs.explain(trained.workspace, at=trained.end)
    assert (result.influences, result.note) == ((), "nothing was known")


def test_the_command_prints_one_json_document(trained: Trained, nightcast: Command) -> None:
    code, out = nightcast(trained, "explain", "--json")
    assert code == 0
    data = json.loads(out)
    assert data["version"] == 1
    (everything,) = (group for group in data["explanation"]["groups"] if group["kind"] == "all")
    assert everything["loss"] > 0
    assert len(everything["loss_by_lead"]) == 2
    assert data["units"] == {"wind_speed": "m s-1"}


def test_the_command_says_what_the_forecast_rests_on(trained: Trained, nightcast: Command) -> None:
    code, out = nightcast(trained, "explain", "--version", "1")
    out = out.replace("\N{NO-BREAK SPACE}", " ")
    assert code == 0
    assert "tiny-wind: what ridge-var, version 1, rests on (recorded when it was trained)" in out
    assert "Without any input the forecast at lead 1 would be " in out
    assert "without Station 2" in out or "Station 2" in out
    assert nightcast(trained, "explain", "--version", "9")[0] == 2


def test_the_page_of_a_forecast_says_what_it_rests_on(trained: Trained) -> None:
    (result,) = jobs.forecast(trained.workspace, at=trained.end)
    page = (result.folder / "report.html").read_text().replace("\N{NO-BREAK SPACE}", " ")
    assert "What the forecast rests on" in page
    assert "Without any input the forecast for " in page
    assert "In this forecast" in page


def test_the_page_goes_out_without_what_moved_the_forecast(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(report_basis, "influences_at_issue", fail)
    with caplog.at_level(logging.WARNING):
        (result,) = jobs.forecast(trained.workspace, at=trained.end)
    page = (result.folder / "report.html").read_text()
    assert "What the forecast rests on" in page
    assert "In this forecast" not in page
    assert "the page does not show what moved the forecast: MemoryError" in caplog.text


def test_the_page_of_a_champion_without_an_explanation_has_no_section(unexplained: ProductHome) -> None:
    (result,) = jobs.forecast(unexplained.workspace, at=unexplained.end)
    assert "What the forecast rests on" not in (result.folder / "report.html").read_text()
