"""The jobs of one product, one after the other, as the scheduler would call them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pyarrow.compute as pc
import pytest

from models.base import Model
from models.baselines.ridge import RidgeVar
from models.catalogue import build
from models.errors import DivergedError
from models.task import Task
from pipeline.config import load_product
from pipeline.errors import GateError, NoDataError, UsageError
from pipeline.fallback_level import FallbackLevel
from pipeline.jobs.status import assess
from pipeline.registry.tracking import Registry, TrackingError
from pipeline.training import holdout, recipe
from pipeline.training.fit import REQUIRED_BASELINES
from pipeline.workspace import Workspace
from tests import jobs
from tests.conftest import ProductHome, Trained
from tests.world import make_rows

DAY = timedelta(days=1)


def _champion(place: ProductHome) -> int | None:
    found = place.workspace.registry.by_alias("champion")
    return found.version if found else None


def _actions(place: ProductHome) -> list[tuple[str, int, int | None]]:
    rows = place.workspace.ledger.read()
    return [(row.action, row.version, row.previous) for row in reversed(rows)]


def _earlier(trained: Trained) -> datetime:
    return trained.end - 20 * DAY


def test_equal_data_train_once(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(import_module("pipeline.jobs.retrain"), "fit_all", never)
    again = jobs.retrain(trained.workspace, at=trained.end)
    assert again.repeated
    assert again.model_dump(exclude={"repeated"}) == trained.retrained.model_dump(exclude={"repeated"})
    assert _actions(trained) == [("promoted", 1, None)]
    assert len(trained.workspace.registry.versions()) == 1


def test_a_retrain_reports_each_candidate_and_a_covariate_without_rows(
    fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    empty = {
        "source": {"kind": "files", "path": "nwp/*.csv", "format": "csv", "known_at": "run"},
        "step": "1d",
        "locations": {"kind": "stations", "path": "stations.csv"},
        "variables": {"wind_speed": {}},
    }
    training = {"candidates": ["damped-anomaly", "ets", "ridge-var"], "validation": 60}
    place = fresh(training=training, covariates={"nwp": empty})
    monkeypatch.setattr(RidgeVar, "remarks", lambda _: ("five lags", "memory kept"))

    def build_or_diverge(name: str, task: Task, **options: Any) -> Model:
        if name == "ets":
            raise DivergedError("ets", epoch=1, step=1)
        return build(name, task, **options)

    monkeypatch.setattr(import_module("pipeline.jobs.retrain"), "check_candidates", lambda product, task: {})
    monkeypatch.setattr(recipe, "build", build_or_diverge)
    result = jobs.retrain(place.workspace, at=place.end)
    damped, ets, ridge = result.candidates
    assert [one.name for one in result.candidates] == training["candidates"]
    assert ridge.remarks == ("five lags", "memory kept") != damped.remarks
    assert ets.validation_crps is None and "ets" in ets.problem
    metrics = place.workspace.registry.client.get_run(result.run_id).data
    assert ridge.validation_crps == pytest.approx(metrics.metrics["ridge-var/validation_crps"])
    assert damped.validation_crps == pytest.approx(metrics.metrics["damped-anomaly/validation_crps"])
    assert metrics.params["remarks.ridge-var"] == "five lags; memory kept"
    (warning,) = result.warnings
    assert warning.startswith("covariate nwp has no rows known by ")
    assert [record.getMessage() for record in caplog.records].count(f"tiny-wind: {warning}") == 1
    again = jobs.retrain(place.workspace, at=place.end)
    assert (again.repeated, again.candidates, again.warnings) == (True, result.candidates, result.warnings)


def test_a_retrain_without_problems_has_no_warnings(trained: Trained) -> None:
    assert trained.retrained.warnings == ()


def test_the_ledger_records_who_decided_why_and_the_numbers(trained: Trained) -> None:
    (row,) = trained.workspace.ledger.read()
    numbers = json.loads(row.numbers)
    assert (row.who, row.why, row.at) == ("gate", trained.retrained.verdict.reason, trained.end)
    assert numbers["digest"] == trained.retrained.digest
    assert numbers["run"] == trained.retrained.run_id
    assert numbers["verdict"]["crps_by_lead"] == list(trained.retrained.verdict.crps_by_lead)


def test_a_challenger_that_is_not_better_is_registered_and_refused_and_the_champion_refreshed(trained: Trained) -> None:
    trained.file.write_text(trained.file.read_text().replace("- ridge-var", "- damped-anomaly"))
    ws = Workspace(load_product(trained.file), trained.settings)
    result = jobs.retrain(ws, at=trained.end)
    assert result.verdict.decision == "refused"
    assert "not shown to be better than champion version 1" in result.verdict.reason
    assert result.refresh is not None
    assert (result.version, result.champion, result.refreshed) == (2, 3, True)
    assert _champion(trained) == 3
    assert _actions(trained) == [("promoted", 1, None), ("refused", 2, 1), ("refreshed", 3, 1)]
    aliases = {one.version: set(one.aliases) for one in ws.registry.versions()}
    assert aliases == {1: set(), 2: {"challenger"}, 3: {"champion", "fallback"}}
    again = jobs.retrain(ws, at=trained.end)
    assert again == result.model_copy(update={"repeated": True})


def test_a_champion_that_cannot_be_loaded_is_not_beaten(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise TrackingError("gone")

    monkeypatch.setattr(Registry, "download", gone)
    (trained.root / "models" / trained.retrained.digest / "bundle.json").write_text("{}")
    result = jobs.retrain(trained.workspace, at=_earlier(trained))
    assert not result.verdict.promoted
    assert "not shown to be better than champion version 1, which cannot be scored" in result.verdict.reason
    assert _champion(trained) == 1
    again = jobs.retrain(trained.workspace, at=_earlier(trained))
    assert (again.repeated, again.version, again.verdict.reason) == (True, 2, result.verdict.reason)


def test_a_champion_of_another_task_is_fitted_again_for_the_new_one(trained: Trained) -> None:
    trained.file.write_text(trained.file.read_text().replace("horizon: 2", "horizon: 3"))
    result = jobs.retrain(Workspace(load_product(trained.file), trained.settings), at=trained.end)
    assert (result.verdict.decision, result.champion) == ("refreshed", 2)
    words = (
        "fitted on the newest data; not compared with the fit before it, champion version 1: it was trained for other "
    )
    assert result.verdict.reason.startswith(words)
    assert len(result.verdict.crps_by_lead) == 3


def test_a_diverging_candidate_leaves_the_champion(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(*_: object, **__: object) -> None:
        raise DivergedError("ridge-var", epoch=1, step=1)

    monkeypatch.setattr(RidgeVar, "fit", diverge)
    result = jobs.retrain(trained.workspace, at=_earlier(trained))
    assert "which cannot be scored" in result.verdict.reason
    (candidate,) = result.candidates
    assert "not finite in epoch 1, step 1" in candidate.problem
    assert result.champion == _champion(trained) == 1


def test_a_failed_candidate_is_recorded_with_its_reason(
    fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = fresh(training={"candidates": ["attention-convlstm", "ridge-var"], "validation": 60})

    def build_or_diverge(name: str, task: Task, **options: Any) -> Model:
        if name == "attention-convlstm":
            raise DivergedError(name, epoch=3, step=7)
        return build(name, task, **options)

    monkeypatch.setattr(recipe, "build", build_or_diverge)
    result = jobs.retrain(place.workspace, at=place.end)
    assert result.verdict.challenger == "ridge-var"
    run = place.workspace.registry.client.get_run(result.run_id)
    assert "not finite in epoch 3, step 7" in run.data.params["failed.attention-convlstm"]


def test_an_unreachable_server_leaves_the_champion_and_the_ledger(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    down = trained.settings.model_copy(update={"tracking_uri": "http://127.0.0.1:1"})
    with pytest.raises(TrackingError):
        jobs.retrain(Workspace(trained.product, down), at=_earlier(trained))
    assert _champion(trained) == 1
    assert _actions(trained) == [("promoted", 1, None)]


@pytest.mark.parametrize("step", ["log_parameters", "log_metrics", "register"])
def test_a_failure_while_recording_promotes_nobody(
    fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    from pipeline.registry.run import Run

    def fail(*_: object, **__: object) -> None:
        raise TrackingError("MLflow: connection lost")

    place = fresh()
    with monkeypatch.context() as patch:
        patch.setattr(Run, step, fail)
        with pytest.raises(TrackingError, match="connection lost"):
            jobs.retrain(place.workspace, at=place.end)
    assert _champion(place) is None
    assert _actions(place) == []
    assert jobs.retrain(place.workspace, at=place.end).verdict.promoted


def test_a_kill_between_ledger_and_alias_is_completed_by_the_next_run(
    fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = fresh()
    real = Registry.set_alias

    def killed(self: Registry, alias: str, version: int) -> None:
        if alias == "champion":
            raise KeyboardInterrupt
        real(self, alias, version)

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "set_alias", killed)
        with pytest.raises(KeyboardInterrupt):
            jobs.retrain(place.workspace, at=place.end)
    assert _champion(place) is None
    again = jobs.retrain(place.workspace, at=place.end)
    assert (again.repeated, again.champion, _champion(place)) == (True, 1, 1)
    assert _actions(place) == [("promoted", 1, None)]


def test_promote_then_rollback_then_nothing_before(trained: Trained) -> None:
    product, settings = trained.product, trained.settings
    jobs.retrain(Workspace(product, settings), at=_earlier(trained))
    done = jobs.promote(Workspace(product, settings), version=2, who="Ann", why="by hand")
    assert (done.version, done.previous, _champion(trained)) == (2, 1, 2)
    back = jobs.rollback(Workspace(product, settings), who="Ann", why="it drifts")
    assert (back.action, back.version, back.previous, _champion(trained)) == ("rollback", 1, 2, 1)
    with pytest.raises(GateError, match="no version served before"):
        jobs.rollback(Workspace(product, settings), who="Ann", why="once more")
    assert _champion(trained) == 1
    assert _actions(trained) == [("promoted", 1, None), ("refused", 2, 1), ("promoted", 2, 1), ("rollback", 1, 2)]
    listed = jobs.models(Workspace(product, settings))
    assert [one.version for one in listed.versions] == [2, 1]
    assert [(row.action, row.who) for row in listed.ledger][:2] == [("rollback", "Ann"), ("promoted", "Ann")]


def test_a_repeated_retrain_names_the_current_champion(trained: Trained) -> None:
    product, settings = trained.product, trained.settings
    jobs.retrain(Workspace(product, settings), at=_earlier(trained))
    jobs.promote(Workspace(product, settings), version=2, who="Ann", why="by hand")
    again = jobs.retrain(Workspace(product, settings), at=trained.end)
    assert (again.repeated, again.version, again.champion, _champion(trained)) == (True, 1, 2, 2)


def test_a_repeated_retrain_does_not_undo_a_rollback(trained: Trained) -> None:
    product, settings = trained.product, trained.settings
    jobs.retrain(Workspace(product, settings), at=_earlier(trained))
    jobs.promote(Workspace(product, settings), version=2, who="Ann", why="by hand")
    jobs.rollback(Workspace(product, settings), who="Ann", why="back")
    assert jobs.retrain(Workspace(product, settings), at=_earlier(trained)).champion == 1
    assert _champion(trained) == 1


def test_rollback_before_anything_served_is_refused(fresh: Callable[..., ProductHome], trained: Trained) -> None:
    place = fresh(days=20)
    with pytest.raises(GateError):
        jobs.rollback(place.workspace, who="Ann", why="?")
    with pytest.raises(GateError):
        jobs.rollback(trained.workspace, who="Ann", why="?")


def test_an_unknown_or_damaged_version_is_not_promoted(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GateError, match="no version 9"):
        jobs.promote(trained.workspace, version=9, who="Ann", why="?")

    def gone(*_: object) -> None:
        raise TrackingError("gone")

    monkeypatch.setattr(Registry, "download", gone)
    (trained.root / "models" / trained.retrained.digest / "challenger" / "model.safetensors").write_bytes(b"")
    with pytest.raises(GateError, match="version 1 cannot serve"):
        jobs.promote(trained.workspace, version=1, who="Ann", why="?")
    assert _actions(trained) == [("promoted", 1, None)]


def test_too_little_data_trains_nothing(fresh: Callable[..., ProductHome]) -> None:
    place = fresh(days=100)
    with pytest.raises(NoDataError, match="which leaves 33 to validate on and 0 to train on; needed are 60 and 50"):
        jobs.retrain(place.workspace, at=place.end)


def test_forecasts_of_a_range_are_made_in_order_and_never_beyond_now(trained: Trained) -> None:
    since = trained.end - 4 * DAY
    results = jobs.forecast(trained.workspace, since=since, until=trained.end + 9 * DAY, at=trained.end)
    issues = [one.issue_time for one in results]
    assert issues == sorted(issues)
    assert len(issues) == 4
    assert issues[-1] <= trained.end


def test_invalid_ranges_are_wrong_use(trained: Trained) -> None:
    product, settings, end = trained.product, trained.settings, trained.end
    with pytest.raises(UsageError, match="needs since"):
        jobs.forecast(Workspace(product, settings), until=end, at=end)
    with pytest.raises(UsageError, match=r"no issue time between 2002-02-05 06:00 and 2002-02-05 06:00 UTC"):
        jobs.forecast(Workspace(product, settings), since=end, at=end)


def test_now_of_an_archive_is_when_its_next_value_is_due(trained: Trained, fresh: Callable[..., ProductHome]) -> None:
    assert jobs.now_of(trained.workspace) == trained.end
    assert jobs.now_of(trained.workspace, datetime(2020, 1, 1, tzinfo=UTC)).year == 2020
    live = fresh(days=10, feed={"mode": "live"})
    assert jobs.now_of(live.workspace).year >= 2025


def test_status_is_broken_late_and_fresh_in_turn(trained: Trained, fresh: Callable[..., ProductHome]) -> None:
    product, settings = trained.product, trained.settings
    assert jobs.status(Workspace(product, settings)).reason == "nothing was forecast yet; run `nightcast forecast`"
    jobs.forecast(Workspace(product, settings), at=trained.end)
    found = jobs.status(Workspace(product, settings))
    assert (found.state, found.fallback_level, found.champion, found.model) == ("fresh", 0, 1, "ridge-var")
    assert found.page is not None
    assert found.page.is_file()
    assert (
        jobs.status(Workspace(product, settings), at=trained.end + timedelta(minutes=119)).state == "late"
    )  # a value is due
    missing = jobs.status(Workspace(product, settings), at=trained.end + timedelta(hours=3))
    assert (missing.state, missing.reason) == ("late", "the forecast of 2002-02-05 07:00 UTC is missing")
    assert jobs.status(Workspace(product, settings), at=trained.end + 9 * DAY).state == "broken"

    untrained = fresh(days=30)
    jobs.forecast(untrained.workspace, at=untrained.end)
    found = jobs.status(untrained.workspace)
    assert (found.state, found.reason) == ("broken", "the last forecast was made without a champion")


def test_an_hourly_product_whose_forecasts_stop_is_late(fresh: Callable[..., ProductHome]) -> None:
    place = fresh(step="1h", days=10, delay="0h", feed={"mode": "live"})
    jobs.forecast(place.workspace, at=place.end)
    rows = [(place.end + n * timedelta(hours=1), f"S{s}", 5.0) for n in range(5) for s in range(4)]
    place.workspace.feed.observations.append(make_rows(*rows), at=place.end, payload="1" * 64)
    found = jobs.status(place.workspace, at=place.end + timedelta(hours=4))
    assert found.state == "broken"  # no champion; with one it would be late:
    state, reason = assess(
        place.workspace, found.now, found.newest or found.now, found.last_issue, FallbackLevel.CHAMPION, []
    )
    assert (state, "is missing" in reason) == ("late", True)


def test_two_retrains_compare_with_the_champion_of_the_first(trained: Trained) -> None:
    end = trained.end + 40 * DAY
    observations = trained.workspace.feed.observations
    import numpy as np

    values = np.random.default_rng(5).uniform(4, 9, (40, 4)).round(3)
    newest = trained.end - timedelta(hours=30)
    rows = [(newest + (n + 1) * DAY, f"S{s}", float(values[n, s])) for n in range(40) for s in range(4)]
    observations.append(make_rows(*rows), at=end, payload="2" * 64)
    result = jobs.retrain(trained.workspace, at=end)
    assert result.version == 2
    assert result.verdict.rivals[0].rival == "champion version 1"
    assert result.champion == (2 if result.refreshed else 1) == _champion(trained)


def test_where_no_challenger_passes_the_best_baseline_is_the_first_champion(fresh: Callable[..., ProductHome]) -> None:
    place = fresh(gate={"significance": 1e-9}, training={"candidates": ["damped-anomaly"], "validation": 60})
    result = jobs.retrain(place.workspace, at=place.end)
    assert (result.champion, result.exit_code) == (1, 0)
    assert (result.verdict.challenger, result.verdict.untested) == ("ridge-var", True)
    assert "; the best candidate, damped-anomaly, was refused: not shown to be better than " in result.verdict.reason
    assert _actions(place) == [("promoted", 1, None)]
    (done,) = jobs.forecast(place.workspace, at=place.end)
    assert (done.fallback_level, done.model) == (FallbackLevel.CHAMPION, "ridge-var")


def test_a_baseline_that_is_champion_is_not_compared_with_itself(
    fresh: Callable[..., ProductHome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holdout, "baseline_names", lambda **_: REQUIRED_BASELINES)
    place = fresh(gate={"significance": 1e-9}, training={"candidates": ["damped-anomaly"], "validation": 60})
    first = jobs.retrain(place.workspace, at=place.end)
    champion = first.verdict.challenger
    assert champion in REQUIRED_BASELINES
    (done,) = jobs.forecast(place.workspace, at=place.end)
    assert (done.fallback_level, done.model) == (FallbackLevel.CHAMPION, champion)
    rows = place.workspace.forecasts.read(done.issue_time)
    beside = rows.filter(pc.invert(rows["published"]))["model"].unique().to_pylist()
    assert champion not in beside
    assert set(beside) >= set(REQUIRED_BASELINES) - {champion}
