"""The job `search`, with its study, its MLflow run and its command."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from pipeline.cli import job_commands
from pipeline.config import load_product, settings
from pipeline.errors import NoDataError, UsageError
from pipeline.jobs.search import SearchResult
from pipeline.registry.tracking import TrackingError
from pipeline.training.folds import split
from tests import jobs
from tests.conftest import ProductHome
from tests.world import take_snapshot

DLINEAR = {"base": "climatology", "epochs": 1, "hidden": 4, "frames": 3}


def _search(home: ProductHome, **arguments: Any) -> SearchResult:
    defaults: dict[str, Any] = {"model": "ridge-var", "trials": 4, "at": home.end}
    return jobs.search(home.workspace, **(defaults | arguments))


@pytest.fixture(autouse=True)
def _untracked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave MLflow out, which takes seconds, except where a test is about it."""
    if "recorded" not in request.node.name:
        monkeypatch.setattr(import_module("pipeline.jobs.search"), "record_search", lambda *_, **__: "run")


@pytest.fixture
def home(fresh: Callable[..., ProductHome]) -> ProductHome:
    return fresh(days=300, gate={"issues": 40})


def test_what_is_found_is_a_snippet_and_the_product_file_is_left_alone(home: ProductHome) -> None:
    before = home.file.read_bytes()
    result = _search(home, trials=8)
    found = result.findings
    snapshot = take_snapshot(home.workspace, known_by=home.end)
    holdout = split(snapshot).holdout
    assert home.file.read_bytes() == before
    assert result.until + timedelta(days=2) <= holdout[0]
    assert (result.folds, result.issues) == (3, sum(1 for _ in snapshot.cadence.issues(result.since, result.until)))
    control, *others = found.trials
    assert control == found.control
    assert (control.control, control.skill, control.options) == (True, 0.0, {"lags": None, "memory": True})
    assert found.ended_by == "trials"
    assert len(others) == 7
    assert found.best is not None
    assert found.comparison is not None
    finished = [one for one in others if one.status == "finished"]
    assert found.best.crps == min(one.crps or 9 for one in finished)
    assert found.comparison.skill == pytest.approx(found.best.skill, abs=1e-9)
    assert bool(found.snippet) == found.comparison.distinguishable
    assert json.loads(result.model_dump_json())["findings"]["best"]["options"] == found.best.options
    if found.snippet:
        document = yaml.safe_load(home.file.read_text())
        document["training"] |= yaml.safe_load(found.snippet)["training"]
        home.file.write_text(yaml.safe_dump(document))
        assert load_product(home.file).training.options["ridge-var"] == found.best.options


def test_a_second_search_continues_the_study(home: ProductHome) -> None:
    first = _search(home)
    again = _search(home)
    assert again.study == first.study
    assert first.study.is_relative_to(home.root / "searches")
    assert first.study.name.startswith("ridge-var-")
    assert len(again.findings.trials) == 4
    assert min(one.number for one in again.findings.trials) == 4  # then some that only repeat others
    assert not any(one.control for one in again.findings.trials)
    assert again.findings.control == first.findings.control
    assert again.findings.compared >= first.findings.compared


def test_later_data_begin_with_the_control_and_keep_what_was_learnt(home: ProductHome) -> None:
    first = _search(home, at=home.end - timedelta(days=3))
    later = _search(home)
    assert later.study == first.study
    assert later.findings.earlier == 4
    assert later.findings.trials[0].control
    assert later.findings.control.crps != first.findings.control.crps


def test_other_present_options_are_another_study(home: ProductHome) -> None:
    first = _search(home, trials=1)
    training = home.product.training.model_copy(update={"options": {"ridge-var": {"memory": False}}})
    other = ProductHome(home.product.model_copy(update={"training": training}), home.settings, home.end)
    result = _search(other, trials=1)
    assert result.study != first.study
    assert result.findings.control.options == {"lags": None, "memory": False}
    assert result.findings.conclusion == "no other options were scored to the end"
    assert (result.findings.best, result.findings.comparison, result.findings.snippet) == (None, None, "")


def test_a_network_is_searched_from_its_present_options(fresh: Callable[..., ProductHome]) -> None:
    home = fresh(days=300, gate={"issues": 40}, training={"candidates": ["dlinear"], "options": {"dlinear": DLINEAR}})
    progress: list[str] = []
    result = _search(home, model="dlinear", trials=2, seed=8, on_progress=lambda one: progress.append(str(one)))
    control, other = result.findings.trials
    assert control.options["hidden"] == 4
    assert (control.options["epochs"], control.options["learning_rate"]) == (1, 0.001)
    assert other.options["hidden"] in range(8, 65, 8)
    assert "base" not in other.options
    assert progress[0] == "trial 1 of 2, present options"
    assert any(line.startswith("trial 1, fold 2, epoch 3 of ") for line in progress)
    if result.findings.snippet:
        assert yaml.safe_load(result.findings.snippet)["training"]["options"]["dlinear"]["base"] == "climatology"


def test_a_damaged_study_is_set_aside_with_a_warning(home: ProductHome) -> None:
    first = _search(home)
    first.study.write_bytes(first.study.read_bytes()[:-20])
    again = _search(home)
    (warning,) = again.warnings
    assert "is damaged" in warning
    assert first.study.with_name(f"{first.study.name}.damaged-1").exists()
    assert again.findings.control == first.findings.control


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "ridge"}, "models: unknown model 'ridge'; did you mean 'ridge-var'"),
        ({"model": "persistence"}, "persistence has no options to search"),
        ({"budget": timedelta()}, "budget: write a time longer than 0"),
        ({"budget": timedelta(microseconds=1)}, "budget: 0 s are too short for a trial of the present options"),
    ],
)
def test_wrong_use_is_one_line(home: ProductHome, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        _search(home, **arguments)
    assert "\n" not in str(caught.value)


def test_options_that_do_not_suit_the_task_are_named(home: ProductHome) -> None:
    training = home.product.training.model_copy(update={"options": {"ridge-var": {"lags": 99}}})
    other = ProductHome(home.product.model_copy(update={"training": training}), home.settings, home.end)
    with pytest.raises(UsageError, match=r"tiny-wind: ridge-var: lags must lie within 1\.\.5, found 99"):
        _search(other)


def test_a_short_record_is_one_line(fresh: Callable[..., ProductHome]) -> None:
    open_ended: dict[str, Any] = {"gate": {"issues": None}, "training": {"validation": None}}
    home = fresh(days=120, **open_ended)
    assert _search(home, trials=1).findings.control.crps is not None
    with pytest.raises(NoDataError, match=r"dlinear needs 50 issue times to train on, and an inner fold has 2[0-9]"):
        _search(home, model="dlinear")


def test_a_search_is_recorded_once_with_its_trials(home: ProductHome) -> None:
    result = _search(home, trials=5)
    client = home.workspace.registry.client
    run = client.get_run(result.run_id)
    assert run.info.run_name.startswith("search ridge-var ")
    assert run.data.params["model"] == "ridge-var"
    finished = [one for one in result.findings.trials if one.crps is not None]
    history = client.get_metric_history(result.run_id, "trial/crps")
    assert {one.step: one.value for one in history} == {one.number: pytest.approx(one.crps) for one in finished}
    assert len(client.get_metric_history(result.run_id, "trial/lags")) == len(finished) - 1
    assert result.findings.comparison is not None
    assert run.data.metrics["best/skill"] == pytest.approx(result.findings.comparison.skill)
    names = {one.path for one in client.list_artifacts(result.run_id)}
    assert names == {"search.json", *(["options.yaml"] if result.findings.snippet else [])}
    module: Any = import_module("pipeline.jobs.search")
    again = module.record_search(
        home.workspace.registry, result.findings, model="ridge-var", at=home.end, key=_key(run), parameters={}
    )
    assert again == result.run_id


def _key(run: Any) -> str:
    return str(run.data.tags["nightcast.key"])


def test_an_unreachable_registry_is_only_logged(
    home: ProductHome, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise TrackingError("MLflow at http://nowhere: refused")

    monkeypatch.setattr(import_module("pipeline.jobs.search"), "record_search", fail)
    assert _search(home, trials=1).run_id == ""
    assert "tiny-wind: the search is not recorded: MLflow at http://nowhere: refused" in caplog.text


def test_the_command_prints_a_table_or_json(home: ProductHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTCAST_HOME", str(home.settings.home))
    settings.cache_clear()
    app = typer.Typer()
    job_commands.add_to(app)
    words = ["search", str(home.file), "--model", "ridge-var", "--budget", "10min"]
    ended = CliRunner().invoke(app, [*words, "--trials", "3"])
    assert ended.exit_code == 0, ended.output
    first, *rest = ended.stdout.splitlines()
    assert first.startswith("tiny-wind: 3 trials of ridge-var; all trials were used: ")
    assert rest[0].split() == ["trial", "CRPS", "better", "by", "seconds", "options"]
    assert rest[1].split()[0] == "present"
    assert "all before the held-out period of the gate" in ended.stdout
    ended = CliRunner().invoke(app, [*words, "--trials", "2", "--json"])
    assert [one["number"] for one in json.loads(ended.stdout)["findings"]["trials"]] == [3, 4]
    settings.cache_clear()
