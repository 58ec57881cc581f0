"""The command line as a person and a script meet it: what it prints where, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from pipeline.cli import main
from pipeline.config import settings
from pipeline.paths import deploy_folder
from tests.conftest import ProductHome, Trained


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Ended]


@pytest.fixture
def nightcast(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Command]:
    """Runs one command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name in os.environ:
        if name.startswith("NIGHTCAST_"):
            monkeypatch.delenv(name)

    def run(*arguments: object, home: Path | None = None) -> Ended:
        monkeypatch.setenv("NIGHTCAST_HOME", str(home or tmp_path / "home"))
        settings.cache_clear()
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([str(one) for one in arguments])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err
        return Ended(int(caught.value.code or 0), printed.out, printed.err)

    yield run
    settings.cache_clear()


def _fails(ended: Ended, code: int, *words: str) -> None:
    """One line on stderr that says these words, and this exit code."""
    assert ended.code == code, ended.err
    (line,) = ended.err.splitlines()
    assert line.startswith("error: ")
    for word in words:
        assert word in line


def test_every_job_prints_one_json_document(trained: Trained, nightcast: Command) -> None:
    home, file = trained.settings.home, trained.file

    def data(*arguments: object) -> Any:
        ended = nightcast(*arguments, "--json", home=home)
        assert ended.code == 0, ended.err
        return ended.data

    assert data("check", file)["locations"] == "4 stations"
    ingest = data("ingest", file)
    assert (ingest["added"], ingest["unchanged"], ingest["refused"]) == (0, 1600, 0)
    assert data("ingest", file)["payloads"] == 0
    retrain = data("retrain", file, "--at", trained.end.isoformat())
    assert (retrain["repeated"], retrain["champion"], retrain["verdict"]["promoted"]) == (True, 1, True)
    (forecast,) = data("forecast", file)
    assert (forecast["fallback_level"], forecast["repeated"]) == (0, False)
    assert len(data("forecast", file, "--since", "2002-01-30")) == 6
    assert data("verify", file)["scored"] > 0
    status = data("status", file)
    assert (status["state"], status["champion"], status["fallback_level"]) == ("fresh", 1, 0)
    models = data("models", file)
    assert models["versions"][0]["aliases"] == ["challenger", "champion", "fallback"]
    promoted = data("promote", file, 1, "--why", "again")
    assert (promoted["action"], promoted["version"], promoted["why"]) == ("promote", 1, "again")


def test_tables_fit_a_terminal_of_80_columns(trained: Trained, nightcast: Command) -> None:
    home, file = trained.settings.home, trained.file
    nightcast("forecast", file, "--since", "2002-01-30", home=home)
    for command in ("verify", "models"):
        ended = nightcast(command, file, home=home)
        assert ended.code == 0
        tabular = [line for line in ended.out.splitlines() if "   " in line and "/" not in line]
        assert tabular
        assert max(map(len, tabular)) <= 80
    assert "published" in nightcast("verify", file, home=home).out
    assert "version 1, ridge-var" in nightcast("status", file, home=home).out
    text = nightcast("forecast", file, home=home).out
    assert "fallback level 0 (champion), ridge-var, input 7 h old, published before" in text


def test_a_forecast_without_recent_input_says_so(trained: Trained, nightcast: Command) -> None:
    late = nightcast("forecast", trained.file, "--at", "2002-04-01", home=trained.settings.home)
    assert late.code == 0
    assert "fallback level 4 (climatology), climatology, no recent input" in late.out
    as_json = nightcast("forecast", trained.file, "--at", "2002-04-01", "--json", home=trained.settings.home)
    assert as_json.data[0]["input_age_hours"] is None


def test_a_misspelt_field_is_wrong_use(trained: Trained, nightcast: Command) -> None:
    trained.file.write_text(trained.file.read_text().replace("horizon:", "horizont:"))
    for command in ("check", "ingest", "retrain", "forecast", "verify", "status", "models"):
        _fails(nightcast(command, trained.file), 2, "forecast.horizont", "unknown field", "did you mean 'horizon'?")


def test_a_missing_file_is_wrong_use(nightcast: Command, tmp_path: Path) -> None:
    _fails(nightcast("status", tmp_path / "none.yaml"), 2, "none.yaml", "no such file")


def test_an_unknown_variable_is_wrong_use(trained: Trained, nightcast: Command) -> None:
    trained.file.write_text(trained.file.read_text().replace("- wind_speed", "- wind_sped"))
    _fails(nightcast("ingest", trained.file), 2, "'wind_sped'", "known: wind_speed")


def test_an_unknown_candidate_is_wrong_use(trained: Trained, nightcast: Command) -> None:
    trained.file.write_text(trained.file.read_text().replace("- ridge-var", "- rigde-var"))
    for command in ("check", "retrain"):
        _fails(nightcast(command, trained.file), 2, "training.candidates", "unknown model 'rigde-var'", "ridge-var")


def test_an_unknown_environment_variable_is_wrong_use(
    trained: Trained, nightcast: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTCAST_HOM", "here")
    _fails(nightcast("status", trained.file), 2, "NIGHTCAST_HOM", "did you mean NIGHTCAST_HOME?")


@pytest.mark.parametrize("text", ["yesterday", "2002-13-01", ""])
def test_text_that_is_not_a_time_is_wrong_use(trained: Trained, nightcast: Command, text: str) -> None:
    for command in ("ingest", "retrain", "forecast", "verify", "status"):
        _fails(nightcast(command, trained.file, "--at", text, home=trained.settings.home), 2, "is not a date or time")


def test_a_window_without_an_issue_time_is_wrong_use(trained: Trained, nightcast: Command) -> None:
    home = trained.settings.home
    ended = nightcast("forecast", trained.file, "--since", "2030-01-01", "--until", "2030-01-02", home=home)
    _fails(ended, 2, "no issue time between")
    _fails(nightcast("forecast", trained.file, "--until", "2002-01-01", home=home), 2, "needs since")


def test_an_argument_left_out_is_wrong_use(trained: Trained, nightcast: Command) -> None:
    assert nightcast("promote", trained.file, 1).code == 2
    assert nightcast("ingest").code == 2
    assert nightcast("nonsense").code == 2


@pytest.mark.parametrize("command", ["retrain", "forecast", "verify", "status"])
def test_a_product_that_was_never_ingested_has_no_data(trained: Trained, nightcast: Command, command: str) -> None:
    _fails(nightcast(command, trained.file), 3, "no observations", "nightcast ingest")


def test_too_little_data_to_train_is_an_upstream_failure(fresh: Callable[..., ProductHome], nightcast: Command) -> None:
    place = fresh(days=100)
    ended = nightcast("retrain", place.file, "--json", home=place.settings.home)
    _fails(ended, 3, "matured issue times, 60 are to be held out")
    assert ended.data == {"error": ended.err.removeprefix("error: ").strip(), "kind": "NoDataError", "exit_code": 3}


def test_an_empty_source_is_an_upstream_failure(trained: Trained, nightcast: Command) -> None:
    for content in (b"", b"time,S0,S1,S2,S3\n"):
        (trained.product.folder / "wind.csv").write_bytes(content)
        for command in ("ingest", "check") if not content else ("ingest",):
            ended = nightcast(command, trained.file, "--json")
            _fails(ended, 3, "no rows" if content else "wind.csv")
            assert ended.data["exit_code"] == 3


def test_a_missing_source_is_an_upstream_failure(trained: Trained, nightcast: Command) -> None:
    (trained.product.folder / "wind.csv").unlink()
    for command in ("ingest", "check"):
        _fails(nightcast(command, trained.file), 3, "no file matches")


def test_a_batch_refused_as_a_whole_is_a_refusal(trained: Trained, nightcast: Command) -> None:
    (trained.product.folder / "wind.csv").write_text("time,S0,S1,S2,S3\n2001-01-01T00:00:00Z,999,999,-1,x\n")
    _fails(nightcast("ingest", trained.file), 4, "all 4 rows were refused", "in quarantine")


def test_a_champion_that_stays_is_a_refusal_with_its_numbers(trained: Trained, nightcast: Command) -> None:
    home = trained.settings.home
    ended = nightcast("retrain", trained.file, "--at", "2002-01-15", "--json", home=home)
    assert ended.code == 4
    assert (ended.data["champion"], ended.data["verdict"]["promoted"]) == (1, False)
    again = nightcast("retrain", trained.file, "--at", "2002-01-15", home=home)
    assert again.code == 4
    assert "its verdict still holds" in again.out
    assert "not refreshed: the champion was fitted on newer data" in again.out


def test_a_rollback_without_a_previous_champion_and_an_unknown_version_are_refusals(
    trained: Trained, nightcast: Command
) -> None:
    home = trained.settings.home
    _fails(nightcast("rollback", trained.file, "--why", "x", home=home), 4, "no version served before")
    _fails(nightcast("promote", trained.file, 7, "--why", "x", home=home), 4, "no version 7")
    ended = nightcast("rollback", trained.file, "--why", "x", "--json", home=home)
    assert (ended.code, ended.data["kind"]) == (4, "GateError")


def test_a_tracking_server_that_is_down_is_our_fault_in_one_line(
    trained: Trained, nightcast: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTCAST_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    _fails(nightcast("models", trained.file, home=trained.settings.home), 1, "MLflow at http://127.0.0.1:1")
    status = nightcast("status", trained.file, "--json", home=trained.settings.home)
    assert (status.code, status.data["state"]) == (0, "broken")
    assert "MLflow" in status.data["reason"]


def test_markup_in_text_is_printed_as_it_is(trained: Trained, nightcast: Command) -> None:
    why = "[bold]x[/bold] [/] \\[red]"
    ended = nightcast("promote", trained.file, 1, "--why", why, home=trained.settings.home)
    assert why in ended.out
    assert "[bold]x[/bold]" in nightcast("models", trained.file, home=trained.settings.home).out


def test_the_schema_describes_the_shipped_products(nightcast: Command) -> None:
    schema = nightcast("schema").data
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    files = sorted((deploy_folder() / "products").glob("*.yaml"))
    assert len(files) == 2
    for file in files:
        validator.validate(yaml.safe_load(file.read_text()))
    assert list(validator.iter_errors({"name": "x", "horizont": 3}))

    def undescribed(part: dict[str, Any], name: str) -> list[str]:
        return [
            f"{name}.{key}"
            for key, value in part.get("properties", {}).items()
            if not {"description", "$ref", "const"} & set(value)
        ]

    assert not [field for name, part in schema["$defs"].items() for field in undescribed(part, name)]
    assert not undescribed(schema, "Product")


def test_help_lists_the_exit_codes(nightcast: Command) -> None:
    ended = nightcast("--help")
    assert ended.code == 0
    assert "Exit codes" in ended.out
    assert nightcast("--version").out.startswith("nightcast ")


def test_a_traceback_is_shown_on_request(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Exception, match="no such file"):
        main(["--traceback", "status", "none.yaml"])


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["schema"], 0),
        (["check", "{file}", "--json"], 0),
        (["status", "none.yaml", "--json"], 2),
        (["forecast", "{file}", "--json"], 3),
    ],
)
def test_the_installed_command_does_the_same(trained: Trained, tmp_path: Path, arguments: list[str], code: int) -> None:
    command = [sys.executable, "-c", "from pipeline.cli import main; main()"]
    ended = subprocess.run(
        [*command, *(one.format(file=trained.file) for one in arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "NIGHTCAST_HOME": str(tmp_path / "empty"), "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert ended.returncode == code
    json.loads(ended.stdout)
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) == (1 if code else 0)
