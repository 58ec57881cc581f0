from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from pipeline.cli import job_commands
from pipeline.cli.job_commands import make_command, parse_arguments
from pipeline.errors import UsageError
from pipeline.jobs.catalogue import get_job
from pipeline.jobs.job import Job, Parameters, Progress, Result
from tests.world import make_product


class CountParameters(Parameters):
    """How many."""

    count: Annotated[int, Field(ge=1, title="Count", description="How many.")] = 1
    dry_run: Annotated[bool, Field(title="Dry run", description="Only count.")] = False


class CountResult(Result):
    count: int

    @property
    def exit_code(self) -> int:
        return 4 if self.count > 2 else 0


def count(ws: Any, *, count: int, dry_run: bool, on_progress: Any) -> CountResult:
    on_progress(Progress("step", count, count))
    return CountResult(product=ws.product.name, count=count)


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> typer.Typer:
    """A command tree with a new job, which consists of a function and a declaration."""
    module = ModuleType("new_job")
    module.count = count  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "new_job", module)
    monkeypatch.setattr(job_commands, "JOBS", (Job("count", "new_job:count", "Count.", CountParameters),))
    monkeypatch.setenv("NIGHTCAST_HOME", str(tmp_path / "home"))
    made = typer.Typer()
    job_commands.add_to(made)
    return made


def test_a_declared_job_is_a_command(app: typer.Typer, tmp_path: Path) -> None:
    file = str(make_product(tmp_path).folder / "product.yaml")
    ended = CliRunner().invoke(app, ["count", file, "--count", "2"])
    assert ended.exit_code == 0
    assert [line.split() for line in ended.stdout.splitlines()] == [["product", "tiny-wind"], ["count", "2"]]
    ended = CliRunner().invoke(app, ["count", file, "--count", "3", "--json"])
    assert (ended.exit_code, '"count": 3' in ended.stdout) == (4, True)
    assert "How many." in CliRunner().invoke(app, ["count", "--help"]).stdout
    assert CliRunner().invoke(app, ["count", file, "--dry-run"]).exit_code == 0


def test_arguments_are_typed() -> None:
    arguments = parse_arguments(get_job("backfill"), {"since": "2001-01-01", "until": "2001-02-01", "part": "2/8"})
    assert (arguments["part"], arguments["since"].isoformat()) == ((2, 8), "2001-01-01T00:00:00+00:00")
    assert arguments["at"] is None


def test_a_change_by_hand_is_recorded_with_the_name_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_commands, "caller", lambda: "ann")
    assert parse_arguments(get_job("rollback"), {"why": "it drifts"}) == {"why": "it drifts", "who": "ann"}


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("verify", {"at": "yesterday"}, "'yesterday' is not a date or time"),
        ("backfill", {"since": "2001-01-01", "until": "2001-02-01", "part": "2"}, "part: '2' is not a part; write K/N"),
        ("promote", {"version": 0, "why": "x"}, "version: Input should be greater than or equal to 1"),
    ],
)
def test_an_invalid_argument_is_wrong_use(name: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        parse_arguments(get_job(name), values)


def test_the_user_is_not_an_option() -> None:
    assert "who" not in make_command(get_job("promote")).__annotations__
