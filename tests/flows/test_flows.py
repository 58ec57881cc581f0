from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import Flow, State
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas import objects
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
)
from prefect.context import FlowRunContext
from prefect.exceptions import FailedRun
from prefect.flow_engine import run_flow
from prefect.logging import get_logger
from prefect.states import Completed, Pending, Running, Scheduled

from flows import running
from flows.backtest import backtest
from flows.deployments import register
from flows.forecast import forecast
from flows.ingest import ingest
from flows.promote import promote, rollback
from flows.retrain import retrain
from flows.search import search
from flows.verify import verify
from pipeline.config import Settings, load_product
from pipeline.errors import ContractError, NoDataError, SourceError, UsageError
from pipeline.jobs.catalogue import get_job
from pipeline.jobs.verify import LiveStatus
from tests.flows import samples
from tests.world import make_product

pytestmark = pytest.mark.usefixtures("prefect", "home")


Stub = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Stub:
    """Replace a job by a stub that runs two steps, returns or raises an outcome, and records its arguments."""

    def place(name: str, *outcomes: object) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []
        module_name, _, function_name = get_job(name).function.partition(":")
        module = import_module(module_name)

        @wraps(getattr(module, function_name))
        def job(ws: object, **given: Any) -> object:
            calls.append(given)
            for step in (fetch_payloads, _store_rows) if "run" in given else ():
                assert given["run"](step, 2) == 4
            outcome = outcomes[min(len(calls), len(outcomes)) - 1]
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        monkeypatch.setattr(module, function_name, job)
        return calls

    monkeypatch.setattr(running, "WAITS", (0.0, 0.0))
    return place


def fetch_payloads(number: int) -> int:
    """Fetch."""
    return 2 * number


def _store_rows(number: int) -> int:
    return number + 2


def run(flow: Callable[..., State[Any]], product: Path, **parameters: object) -> State[Any]:
    return flow(str(product), **parameters, return_state=True)


def run_at(flow: Flow[..., Any], parameters: dict[str, Any], instant: datetime) -> State[Any]:
    """Run a flow as a run that was scheduled for an instant."""
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(flow, parameters=parameters, state=Scheduled(scheduled_time=instant))
    state = run_flow(flow, flow_run=run, parameters=parameters, return_type="state")
    assert isinstance(state, State)
    return state


def artifact(key: str) -> str:
    """The text of an artifact."""
    found = Artifact.get(key=key)
    assert isinstance(found, objects.Artifact)
    assert isinstance(found.data, str)
    return found.data


def task_names(state: State[Any]) -> list[str]:
    """Names of a run's tasks; they reach the server a moment later than its state."""
    run_id = state.state_details.flow_run_id
    assert run_id is not None
    query = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[run_id]))

    async def names() -> list[str]:
        async with get_client() as client, asyncio.timeout(30):
            while True:
                found = await client.read_task_runs(task_run_filter=query)
                if len(found) > 1 and all(run.state and run.state.is_completed() for run in found):
                    return sorted(run.name for run in found)
                await asyncio.sleep(0.05)

    return asyncio.run(names())


class TestSteps:
    def test_each_step_is_a_task_of_its_name(self, archive: Path, stub: Stub) -> None:
        stub("ingest", samples.ingested())
        state = run(ingest, archive)
        assert state.is_completed()
        assert task_names(state) == ["fetch-payloads", "store-rows"]

    def test_the_message_has_the_counts(self, archive: Path, stub: Stub) -> None:
        stub("ingest", samples.ingested({"outside its limits": 4}))
        state = run(ingest, archive)
        assert state.message == "78,888 new, 2 revised, 4 refused rows; newest 1978-12-31 07:00 UTC"


class TestNow:
    when = datetime(2026, 1, 5, 12, 15, tzinfo=UTC)

    def test_is_the_time_for_which_the_run_was_scheduled(self, live: Path, stub: Stub) -> None:
        calls = stub("verify", samples.verified())
        run_at(verify, {"product": str(live)}, self.when)
        assert calls[0]["at"] == self.when

    def test_of_an_ingest_is_when_it_fetches_however_late_it_runs(self, live: Path, stub: Stub) -> None:
        calls = stub("ingest", samples.ingested())
        run_at(ingest, {"product": str(live)}, self.when)
        assert calls[0]["at"] is None

    def test_is_left_to_the_data_of_an_archive(self, archive: Path, stub: Stub) -> None:
        calls = stub("verify", samples.verified())
        run_at(verify, {"product": str(archive)}, self.when)
        assert calls[0]["at"] is None

    def test_given_by_hand_has_precedence_and_is_utc(self, archive: Path, stub: Stub) -> None:
        calls = stub("retrain", samples.retrained(samples.verdict()))
        run_at(retrain, {"product": str(archive), "at": "1978-12-01T06:00"}, self.when)
        assert calls[0]["at"] == datetime(1978, 12, 1, 6, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("planned", "began", "expected"),
        [
            ("07:00", "07:01", "07:00"),
            ("07:00", "07:14", "07:00"),
            ("07:00", "13:02", "13:00"),
            ("07:00", "06:59", "07:00"),
        ],
        ids=["on time", "late within its turn", "after an outage", "a clock that went back"],
    )
    def test_a_late_run_uses_the_newest_scheduled_time(
        self, live: Path, monkeypatch: pytest.MonkeyPatch, planned: str, began: str, expected: str
    ) -> None:
        def instant(clock: str) -> datetime:
            return datetime.fromisoformat(f"2026-01-05T{clock}:30Z" if clock == began else f"2026-01-05T{clock}Z")

        run = SimpleNamespace(auto_scheduled=True, state=SimpleNamespace(timestamp=instant(began)))
        monkeypatch.setattr(FlowRunContext, "get", lambda: SimpleNamespace(flow_run=run))
        monkeypatch.setattr(running, "scheduled_time", lambda: instant(planned))
        monkeypatch.setattr(running, "get_run_logger", lambda: SimpleNamespace(warning=lambda *_: None))
        assert running.current_time(load_product(live), "ingest") == instant(expected)


class TestEnds:
    def test_a_refusal_by_the_gate_is_not_a_failure(self, archive: Path, stub: Stub) -> None:
        stub("retrain", samples.retrained(samples.verdict()))
        state = run(retrain, archive)
        assert state.is_completed()
        assert (state.name, state.message) == (
            "Champion kept",
            "not shown to be better than ridge-var v2 (skill +0.4%, p 0.31)",
        )

    def test_a_promotion_is_the_message(self, archive: Path, stub: Stub) -> None:
        stub("retrain", samples.retrained(samples.verdict(promoted=True)))
        state = run(retrain, archive)
        assert (state.name, state.message) == (
            "Completed",
            "Version 3 is champion. best of all, 0.4% better in CRPS than ridge-var v2",
        )

    def test_an_upstream_failure_is_retried_and_then_the_message(self, archive: Path, stub: Stub) -> None:
        calls = stub("ingest", SourceError("the source is down"))
        state = run(ingest, archive)
        assert state.is_failed()
        assert (len(calls), state.message) == (3, "Upstream failure: the source is down")

    def test_a_retry_can_succeed(self, archive: Path, stub: Stub) -> None:
        calls = stub("ingest", SourceError("the source is down"), samples.ingested())
        assert run(ingest, archive).is_completed()
        assert len(calls) == 2

    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (UsageError("no such candidate"), "Usage error: no such candidate"),
            (ContractError("every row was refused"), "Refused: every row was refused"),
            (NoDataError("no observations yet"), "Upstream failure: no observations yet"),
        ],
    )
    def test_other_errors_are_not_retried(self, archive: Path, stub: Stub, error: Exception, message: str) -> None:
        calls = stub("ingest", error)
        state = run(ingest, archive)
        assert state.is_failed()
        assert (len(calls), state.message) == (1, message)

    def test_a_missing_product_file_is_a_usage_error(self, tmp_path: Path) -> None:
        state = run(ingest, tmp_path / "none.yaml")
        assert state.is_failed()
        assert state.message is not None
        assert state.message.startswith("Usage error: ")

    def test_a_failure_on_purpose_leaves_no_traceback_in_the_log(
        self, archive: Path, stub: Stub, caplog: pytest.LogCaptureFixture
    ) -> None:
        stub("ingest", NoDataError("no observations yet"))
        with pytest.raises(FailedRun):
            run_flow(ingest, parameters={"product": str(archive)}, error_logger=get_logger("flow_runs"))
        assert "no observations yet" in caplog.text
        assert "Traceback" not in caplog.text

    def test_an_internal_error_is_raised(self, archive: Path, stub: Stub) -> None:
        stub("ingest", ZeroDivisionError("ours"))
        with pytest.raises(ZeroDivisionError, match="ours"):
            ingest(str(archive))


class TestArtifacts:
    def test_hostile_text_is_inert(self, archive: Path, stub: Stub) -> None:
        stub("ingest", samples.ingested({samples.HOSTILE: 4}))
        run(ingest, archive)
        assert not set("<>`[]*\u202e") & set(artifact("wind-ingest").partition("### Refused")[2])

    def test_the_checks_of_a_payload_that_is_refused_whole_are_shown(self, home: Path, tmp_path: Path) -> None:
        folder = tmp_path / "tiny"
        product = make_product(folder, days=5, feed={"mode": "live"})
        assert run(ingest, folder / "product.yaml").is_completed()
        (folder / "wind.csv").write_text("time,S0,S1,S2,S3\n2001-01-09T00:00:00Z,999,999,999,999\n")
        state = run(ingest, folder / "product.yaml")
        assert str(state.message).startswith("Refused: tiny-wind: all 4 rows were refused")
        found = Artifact.get(key=f"{product.name}-quality")
        assert isinstance(found, objects.Artifact)
        assert found.description == "4 rows refused"
        assert "999" in artifact(f"{product.name}-quality")

    def test_a_forecast_shows_its_picture(self, archive: Path, stub: Stub, tmp_path: Path) -> None:
        (tmp_path / "forecast.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
        stub("forecast", [samples.forecasted(tmp_path)])
        state = run(forecast, archive)
        assert state.message == "issued 1978-12-31 07:00 UTC, fallback level 0 (champion)"
        assert "](data:image/svg+xml;base64,PHN2Zy" in artifact("wind-forecast")

    def test_a_failure_to_create_one_does_not_fail_the_run(
        self, archive: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(**_: object) -> None:
            raise OSError("server gone")

        monkeypatch.setattr("flows.artifacts.create_markdown_artifact", fail)
        stub("verify", samples.verified())
        assert run(verify, archive).is_completed()


class TestBacktest:
    when = {"since": "1978-10-01", "until": "1978-12-31"}

    def test_passes_typed_parameters_and_shows_the_scores(self, archive: Path, stub: Stub) -> None:
        calls = stub("backtest", samples.backtested(model=samples.HOSTILE))
        state = run(backtest, archive, **self.when, every="2w", part="1/2", models=["ridge-var"])
        assert state.message is not None
        assert state.message.endswith("has the lowest CRPS, 1.1")
        given = calls[0]
        assert (given["every"], given["part"], given["models"]) == (timedelta(weeks=2), (1, 2), ("ridge-var",))
        shown = artifact("wind-backtest")
        assert "skill against climatology" in shown
        assert "lstm, 2 origins: it needs 50 issue times" in shown
        assert "<img" not in shown

    def test_a_part_says_what_is_missing(self, archive: Path, stub: Stub) -> None:
        calls = stub("backtest", samples.backtested(missing=6))
        state = run(backtest, archive, **self.when)
        assert state.message == "7 pieces of part 1 of 2 are finished, 6 pieces of other parts are missing"
        assert calls[0]["every"] == timedelta(weeks=1)


class TestLiveVerdict:
    lost = LiveStatus(
        serving="best baseline",
        reason="the champion has lost its skill",
        since=samples.NOW,
        retrain_requested=samples.NOW,
    )

    @pytest.fixture(autouse=True)
    def only_retrain(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Register no other deployment, which would take seconds."""
        monkeypatch.setattr("flows.deployments.DEPLOYED", (get_job("retrain"),))

    def runs_of(self, product: str) -> list[Any]:
        with get_client(sync_client=True) as client:
            deployment = client.read_deployment_by_name(f"retrain/{product}")
            query = DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))
            found = client.read_flow_runs(deployment_filter=query)
            return [run for run in found if not run.auto_scheduled]

    def test_a_step_down_is_shown_and_requests_one_retrain(self, archive: Path, stub: Stub, home: Path) -> None:
        archive.write_text(archive.read_text().replace("name: wind", "name: live-one"))
        register([archive], Settings(home=home))
        stub("verify", samples.verified(self.lost))
        for _ in range(2):
            state = run(verify, archive)
            assert state.is_completed()
            assert state.name == "Serving the best baseline"
            assert state.message == "the champion has lost its skill; 1,080 values of 30 forecasts scored"
        assert "The best baseline serves:" in artifact("live-one-verification").replace("**", "")
        (requested,) = self.runs_of("live-one")
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(requested.id, Completed(), force=True)
        run(verify, archive)  # the retrain has ended and left no row in the ledger: it is not repeated
        assert [one.id for one in self.runs_of("live-one")] == [requested.id]
        # The refit has become worse too; the best baseline still serves since the first verdict.
        later = self.lost.model_copy(update={"retrain_requested": samples.NOW + timedelta(days=50)})
        stub("verify", samples.verified(later))
        run(verify, archive)
        assert len(self.runs_of("live-one")) == 2

    @pytest.mark.parametrize("state", [Pending(), Running(), Scheduled()], ids=lambda state: state.name)
    def test_no_retrain_is_requested_while_one_is_under_way(
        self, archive: Path, stub: Stub, home: Path, state: State[Any]
    ) -> None:
        name = f"live-{state.name}".lower()
        archive.write_text(archive.read_text().replace("name: wind", f"name: {name}"))
        register([archive], Settings(home=home))
        with get_client(sync_client=True) as client:
            deployment = client.read_deployment_by_name(f"retrain/{name}")
            one = client.create_flow_run_from_deployment(deployment.id)
            client.set_flow_run_state(one.id, state, force=True)
        stub("verify", samples.verified(self.lost))
        run(verify, archive)
        assert [found.id for found in self.runs_of(name)] == [one.id]
        with get_client(sync_client=True) as client:  # the server is shared: another test counts unfinished runs
            client.set_flow_run_state(one.id, Completed(), force=True)

    def test_without_a_deployment_the_verification_still_succeeds(self, archive: Path, stub: Stub) -> None:
        archive.write_text(archive.read_text().replace("name: wind", "name: not-deployed"))
        stub("verify", samples.verified(self.lost))
        assert run(verify, archive).is_completed()

    def test_a_champion_that_serves_requests_nothing(
        self, archive: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("flows.verify.request_retrain", lambda *_, **__: pytest.fail("requested"))
        stub("verify", samples.verified())
        assert run(verify, archive).name == "Completed"


class TestSearch:
    def test_passes_typed_parameters_and_shows_what_was_found(self, archive: Path, stub: Stub) -> None:
        calls = stub("search", samples.searched(base=samples.HOSTILE))
        state = run(search, archive, model="ridge-var", budget="8h", trials=7)
        assert state.message == (
            "ridge-var: the best of 3 other sets of options is better by 2.50% (standard error 0.40%, p < 0.001); it "
            "was chosen as the best of several, so the gate will probably show a smaller gain"
        )
        given = calls[0]
        assert (given["model"], given["budget"], given["trials"]) == ("ridge-var", timedelta(hours=8), 7)
        shown = artifact("wind-search-ridge-var")
        assert "| present | 1.2 |  | 3.0 | lags auto |" in shown
        assert "| lags | 90&#37; |" in shown
        assert "```yaml\ntraining:\n  options:\n    ridge-var:\n      lags: 5\n```" in shown
        assert "study is damaged" in shown
        assert "<img" not in shown


class TestByHand:
    def test_promote_passes_who_and_why(self, live: Path, stub: Stub) -> None:
        calls = stub("promote", samples.promoted())
        when = datetime.now(UTC) - timedelta(minutes=1)
        state = run_at(promote, {"product": str(live), "version": 3, "why": "better", "who": "Ann"}, when)
        assert state.message == "Version 3 is champion of wind, instead of version 2"
        assert calls == [{"version": 3, "who": "Ann", "why": "better", "at": when}]

    def test_rollback_without_a_name_uses_that_of_the_run(self, archive: Path, stub: Stub) -> None:
        calls = stub("rollback", samples.promoted())
        assert run(rollback, archive, why="broken").is_completed()
        assert calls[0]["who"].startswith("Prefect run ")
