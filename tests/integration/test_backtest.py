"""The job `backtest`, against the jobs of the live system and against itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from importlib import import_module
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import typer
from numpy.typing import NDArray
from typer.testing import CliRunner

from models.baselines.ridge import RidgeVar
from pipeline.cli import job_commands
from pipeline.config import settings
from pipeline.errors import NoDataError, UsageError
from pipeline.fallback_level import FallbackLevel
from pipeline.jobs.backtest import BacktestResult
from pipeline.registry.bundle import write_bundle
from pipeline.registry.tracking import Registry, TrackingError
from pipeline.training.backtest.pieces import PieceStore
from pipeline.training.backtest.plan import choose_recipes, find_origins, plan_pieces
from pipeline.training.decision import FittedModels
from pipeline.training.fit import fit_model
from pipeline.training.folds import split
from pipeline.training.recalibration import score_recalibrated
from pipeline.training.recipe import Recipe
from pipeline.training.refit import Refitter
from tests import jobs
from tests.conftest import ProductHome
from tests.world import issue, make_rows, take_snapshot

DAY = timedelta(days=1)
WEEK = timedelta(weeks=1)
CHEAP = ("climatology", "persistence")
SHORT = {"gate": {"issues": 30}, "training": {"validation": 30}}


def _backtest(home: ProductHome, **arguments: Any) -> BacktestResult:
    defaults: dict[str, Any] = {"since": home.end - 40 * DAY, "until": home.end, "models": CHEAP, "at": home.end}
    return jobs.backtest(home.workspace, **(defaults | arguments))


def _quantiles(home: ProductHome, since: datetime, model: str) -> NDArray[np.float32]:
    """Return the stored forecasts of the first origin."""
    ws = home.workspace
    known = take_snapshot(ws, known_by=home.end)
    origins = find_origins(ws.cadence, since, home.end, WEEK)
    ((piece,), *_) = plan_pieces(known, origins, choose_recipes(known, [model]))
    found = PieceStore(ws.layout.backtest_pieces).read(piece.name)
    assert found is not None
    return found.quantiles


@pytest.fixture(autouse=True)
def _untracked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave MLflow out, which takes seconds, except where a test is about it."""
    if "recorded" not in request.node.name:
        monkeypatch.setattr(import_module("pipeline.jobs.backtest"), "record_backtest", lambda *_, **__: "run")


@pytest.fixture
def home(fresh: Callable[..., ProductHome]) -> ProductHome:
    return fresh(days=200, **SHORT)


def _pieces(home: ProductHome) -> set[str]:
    return {file.name for file in home.workspace.layout.backtest_pieces.list_files()}


def _count_fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    module = import_module("pipeline.jobs.backtest")
    real, names = module.forecast_piece, []

    def forecast_piece(piece: Any, *args: Any, **kwargs: Any) -> Any:
        names.append(f"{piece.origin.number} {piece.model}")
        return real(piece, *args, **kwargs)

    monkeypatch.setattr(module, "forecast_piece", forecast_piece)
    return names


def test_a_forecast_equals_the_one_that_the_live_system_makes_bit_by_bit(fresh: Callable[..., ProductHome]) -> None:
    home = fresh(days=430, feed={"mode": "live"})
    origin = home.end - 30 * DAY
    # Later corrections, one of a value that the first forecasts see, one of the training data, must change nothing.
    corrected = make_rows(
        (origin.replace(hour=0) - 2 * DAY, "S0", 40.0), (origin.replace(hour=0) - 90 * DAY, "S1", 9.0)
    )
    home.workspace.feed.observations.append(corrected, at=origin + 2 * DAY, payload="1" * 64)
    _backtest(home, since=origin, until=origin + WEEK, models=())

    trained = jobs.retrain(home.workspace, at=origin)
    assert trained.verdict.promoted
    for number in (0, 1, 4):
        issue_time = list(home.workspace.cadence.issues(origin, home.end))[number]
        live = issue(home.workspace, issue_time).forecast
        assert live.made_by.fallback_level == FallbackLevel.CHAMPION
        made = live.baseline_forecasts | {live.made_by.model.name: live.quantiles}
        assert made.keys() == {"ridge-var", "climatology", "persistence", "damped-anomaly", "seasonal-naive"}
        for model, quantiles in made.items():
            assert quantiles.tobytes() == _quantiles(home, origin, model)[number].tobytes(), (model, number)


def test_a_refit_that_fails_its_checks_forecasts_neither_live_nor_here(
    fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refit forecasts three times the wind; live, the judged fit serves."""
    real = RidgeVar.refit

    def refit(self: RidgeVar, *arguments: Any, **options: Any) -> None:
        real(self, *arguments, **options)
        good = self.predict
        monkeypatch.setattr(self, "predict", lambda inputs: np.minimum(good(inputs) * np.float32(3), np.float32(100)))

    monkeypatch.setattr(RidgeVar, "refit", refit)
    home = fresh(days=430)
    origin = home.end - 7 * DAY
    result = _backtest(home, since=origin, until=origin + WEEK, models=("ridge-var", *CHEAP))
    trained = jobs.retrain(home.workspace, at=origin)
    assert trained.verdict.promoted
    assert trained.verdict.challenger == "ridge-var"
    live = issue(home.workspace, next(iter(home.workspace.cadence.issues(origin, home.end)))).forecast
    assert live.made_by.fallback_level == FallbackLevel.CHAMPION
    assert live.quantiles.tobytes() == _quantiles(home, origin, "ridge-var")[0].tobytes()
    assert result.scores is not None
    (problem,) = result.scores.problems
    assert problem.model == "ridge-var"
    assert problem.text.startswith("the judged fit forecasts: the fit on all data differs from the judged one by ")


def test_an_hourly_forecast_across_a_gap_equals_the_live_one(fresh: Callable[..., ProductHome]) -> None:
    """With a delay of three hours, from a bundle of the refits at the origin."""
    home = fresh(days=20, step="1h", delay="3h", context=6, horizon=4, gate={"issues": 60}, training={"validation": 60})
    ws, origin = home.workspace, home.end - 2 * DAY
    _backtest(home, since=origin, until=origin + WEEK, models=("ridge-var", *CHEAP))

    snapshot = take_snapshot(ws, known_by=origin)
    folds = split(snapshot)
    judged = {name: fit_model(name, Recipe(name), snapshot, folds) for name in ("ridge-var", *CHEAP)}
    models = {name: Refitter(snapshot, folds, {}).refit(one) for name, one in judged.items()}
    corrections = {name: score_recalibrated(one.models, snapshot, folds)[1].newest for name, one in judged.items()}
    ridge, correction = models.pop("ridge-var"), corrections.pop("ridge-var")
    assert correction.by_hour.any()
    times = folds.matured[-1], snapshot.newest_known
    fitted = FittedModels(ridge, models, *times, correction, corrections, snapshot.newest_known)
    bundle = write_bundle(ws.layout.models, fitted, None, {})
    ws.registry = cast(Registry, SimpleNamespace(by_alias=lambda _: SimpleNamespace(version=1, digest=bundle.digest)))
    issues = list(ws.cadence.issues(origin, home.end))
    for number in (0, 7, len(issues) - 1):
        live = issue(ws, issues[number]).forecast
        assert live.made_by.fallback_level == FallbackLevel.CHAMPION
        assert live.quantiles.tobytes() == _quantiles(home, origin, "ridge-var")[number].tobytes()
        for name in CHEAP:
            assert live.baseline_forecasts[name].tobytes() == _quantiles(home, origin, name)[number].tobytes()


def test_a_repeated_call_makes_only_what_is_missing(home: ProductHome, monkeypatch: pytest.MonkeyPatch) -> None:
    fits = _count_fits(monkeypatch)
    first = _backtest(home, until=home.end - 26 * DAY)
    assert (first.origins, first.pieces, first.repeated, len(fits)) == (2, 4, 0, 4)
    again = _backtest(home, until=home.end - 26 * DAY)
    assert (again.repeated, len(fits)) == (4, 4)
    assert again.scores == first.scores
    longer = _backtest(home, until=home.end - 14 * DAY, models=(*CHEAP, "damped-anomaly"))
    assert (longer.origins, longer.repeated, longer.missing) == (4, 4, 0)
    assert fits[4:] == ["1 damped-anomaly", "2 damped-anomaly"] + [
        f"{number} {model}" for number in (3, 4) for model in (*CHEAP, "damped-anomaly")
    ]


def test_an_interrupted_run_goes_on_where_it_was(home: ProductHome, monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("pipeline.jobs.backtest")
    real = module.forecast_piece

    def fail_later(piece: Any, *args: Any, **kwargs: Any) -> Any:
        if piece.origin.number == 2:
            raise KeyboardInterrupt
        return real(piece, *args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "forecast_piece", fail_later)
        _backtest(home)
    assert len(_pieces(home)) == 2
    assert _backtest(home).repeated == 2


def test_parts_share_the_work_and_the_last_one_scores(home: ProductHome, monkeypatch: pytest.MonkeyPatch) -> None:
    fits = _count_fits(monkeypatch)
    second = _backtest(home, part=(2, 2))
    assert (second.origins, second.pieces, second.missing, second.scores) == (6, 6, 6, None)
    assert {name.split()[0] for name in fits} == {"2", "4", "6"}
    first = _backtest(home, part=(1, 2))
    assert (first.pieces, first.missing, len(fits)) == (6, 0, 12)
    whole = _backtest(home)
    assert whole.scores == first.scores
    assert len(fits) == 12


def test_other_data_or_settings_make_other_pieces(fresh: Callable[..., ProductHome]) -> None:
    home = fresh(days=200, feed={"mode": "live"}, **SHORT)
    short = {"until": home.end - 26 * DAY}
    _backtest(home, **short)
    before = _pieces(home)
    # A correction that becomes known after the first origin's last issue time concerns only the second.
    late = home.end - 32 * DAY
    home.workspace.feed.observations.append(
        make_rows((late.replace(hour=0) - 9 * DAY, "S0", 9.0)), at=late, payload="1" * 64
    )
    assert _backtest(home, **short).repeated == 2
    training = home.product.training.model_copy(update={"seed": 5})
    other = ProductHome(home.product.model_copy(update={"training": training}), home.settings, home.end)
    assert _backtest(other, **short).repeated == 0
    assert before < _pieces(home)


def test_a_damaged_piece_is_made_again(home: ProductHome) -> None:
    first = _backtest(home)
    store = home.workspace.layout.backtest_pieces
    name = store.list_files()[3].name
    store.put(name, store.read(name)[:-40])
    with pytest.raises(NoDataError, match="are missing; run the backtest again"):
        _backtest(home)
    again = _backtest(home)
    assert (again.repeated, again.scores) == (first.pieces - 1, first.scores)


def test_scores_cover_the_forecasts_whose_truth_is_known(home: ProductHome) -> None:
    result = _backtest(home)
    assert result.scores is not None
    assert result.scores.issues == 40
    counts = {(one.model, one.by, one.group): one.count for one in result.scores.scores}
    # Of the last issue time no value is known yet, of the one before only the first, at each of four stations.
    for model in CHEAP:
        assert counts[model, "overall", ""] == 4 * (38 * 2 + 1)
        assert (counts[model, "lead", "1"], counts[model, "lead", "2"]) == (4 * 39, 4 * 38)
        assert counts[model, "location", "S3"] == 77
        assert counts[model, "season", "JJA"] == 4 * 77
    assert json.loads(result.model_dump_json())["scores"]["models"] == list(CHEAP)


def test_a_model_that_cannot_be_fitted_is_left_out_with_the_reason(fresh: Callable[..., ProductHome]) -> None:
    home = fresh(days=70, gate={"issues": None}, training={"validation": None})
    result = _backtest(home, since=home.end - 5 * DAY, models=(*CHEAP, "linear-inverse"))
    assert result.scores is not None
    assert result.scores.models == CHEAP
    (problem,) = (one for one in result.scores.problems if one.model not in CHEAP)
    assert (problem.model, problem.origins) == ("linear-inverse", 1)
    assert "it needs 50 issue times to train on" in problem.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"part": (3, 2)}, "part: 3/2 does not exist"),
        ({"every": timedelta()}, "every: write a time longer than 0"),
        ({"models": ("ridge",)}, "models: unknown model 'ridge'; did you mean 'ridge-var'"),
        ({"since": datetime.fromisoformat("2030-01-01T00:00Z")}, "no issue time between"),
    ],
)
def test_wrong_use_is_one_line(home: ProductHome, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _backtest(home, **arguments)


def test_an_origin_with_too_little_history_is_named(home: ProductHome) -> None:
    with pytest.raises(NoDataError, match="at the origin 2001-01-29 07:00 UTC; a later --since has more"):
        _backtest(home, since=datetime.fromisoformat("2001-01-29T07:00Z"))


def test_equal_results_are_recorded_once_as_json_page_and_run(home: ProductHome) -> None:
    first = _backtest(home)
    assert first.folder is not None
    assert first.folder.is_relative_to(home.root / "backtests")
    assert json.loads((first.folder / "backtest.json").read_text())["models"] == list(CHEAP)
    again = _backtest(home)
    assert (again.folder, again.run_id) == (first.folder, first.run_id)
    client = home.workspace.registry.client
    run = client.get_run(first.run_id)
    assert run.data.params["models"] == "climatology, persistence"
    assert {one.path for one in client.list_artifacts(first.run_id)} == {"backtest.json", "backtest.html"}
    by_lead = client.get_metric_history(first.run_id, "climatology/backtest_crps")
    assert sorted(one.step for one in by_lead) == [0, 1, 2]
    assert "persistence/backtest_skill_against_climatology" in run.data.metrics


def test_an_unreachable_registry_is_only_logged(
    home: ProductHome, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise TrackingError("MLflow at http://nowhere: refused")

    monkeypatch.setattr(import_module("pipeline.jobs.backtest"), "record_backtest", fail)
    result = _backtest(home)
    assert (result.run_id, result.scores is not None) == ("", True)
    assert "tiny-wind: the backtest is not recorded: MLflow at http://nowhere: refused" in caplog.text


def test_the_command_prints_a_table_or_json(home: ProductHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTCAST_HOME", str(home.settings.home))
    settings.cache_clear()
    words = [str(home.file), "--since", "2001-06-10", "--until", "2001-06-30", "--every", "10d"]
    words += [word for model in CHEAP for word in ("--models", model)]
    app = typer.Typer()
    job_commands.add_to(app)
    ended = CliRunner().invoke(app, ["backtest", *words, "--part", "1/2"])
    assert ended.exit_code == 0, ended.output
    assert "part 1/2, 2 pieces from 2 origins" in ended.output
    assert "2 pieces of other parts are missing" in ended.output
    ended = CliRunner().invoke(app, ["backtest", *words])
    assert [line.split()[0] for line in ended.stdout.splitlines()[1:4]] == ["wind_speed", "persistence", "climatology"]
    assert "skill against" in ended.stdout
    ended = CliRunner().invoke(app, ["backtest", *words, "--json"])
    found = json.loads(ended.stdout)
    assert (found["every"], found["pieces"], found["repeated"]) == ("P10D", 4, 4)
    settings.cache_clear()
