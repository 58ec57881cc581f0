from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import ConcurrencyLimitStrategy
from prefect.client.schemas.responses import SetStateStatus
from prefect.client.schemas.schedules import CronSchedule
from prefect.settings.models.logging import LoggingSettings
from prefect.states import Pending, Running

from flows.deployments import DEPLOYED, load_flow, register
from flows.forecast import describe
from flows.running import PRODUCT, form
from flows.stale_runs import crash_stale_runs
from models.networks import forward_pass
from pipeline.config import Settings
from pipeline.features import cache
from pipeline.jobs.catalogue import get_job
from pipeline.jobs.job import Job
from pipeline.store.delta import versions
from tests.flows import samples

JOBS = (
    "ingest",
    "forecast",
    "retrain",
    "verify",
    "maintain",
    "promote",
    "rollback",
    "backfill",
    "backtest",
    "explain",
    "search",
    "release",
)


class TestForm:
    @pytest.mark.parametrize("job", DEPLOYED, ids=lambda job: job.name)
    def test_every_parameter_has_the_title_and_description_of_the_declaration(self, job: Job) -> None:
        schema = form(job, load_flow(job))
        assert list(schema.properties) == ["product", *job.parameters.model_fields]
        assert PRODUCT.items() <= schema.properties.pop("product").items()
        for name, field in schema.properties.items():
            declared = job.parameters.model_fields[name]
            assert (field["title"], field["description"]) == (declared.title, declared.description)
            assert field["title"]
            assert field["description"].endswith(".")

    @pytest.mark.parametrize(
        ("name", "minutes"), [("ingest", 60), ("retrain", 360), ("promote", 10), ("backfill", 24 * 60)]
    )
    def test_a_flow_has_the_name_and_timeout_of_its_job(self, name: str, minutes: int) -> None:
        flow = load_flow(get_job(name))
        assert (flow.name, flow.timeout_seconds) == (name, 60.0 * minutes)

    def test_a_version_is_a_number_from_one_and_a_reason_is_needed(self) -> None:
        job = get_job("promote")
        schema = form(job, load_flow(job))
        assert schema.properties["version"]["minimum"] == 1
        assert schema.required == ["product", "version", "why"]


@pytest.mark.usefixtures("prefect")
class TestRegister:
    @pytest.fixture
    def here(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
        monkeypatch.setenv("NIGHTCAST_SECRETS__FEED", "canary-7f3a")
        return Settings(home=home, tracking_uri="http://127.0.0.1:5001")

    @pytest.fixture
    def client(self) -> Any:
        with get_client(sync_client=True) as client:
            yield client

    def test_gives_every_job_a_deployment(self, archive: Path, here: Settings) -> None:
        assert register([archive], here) == [f"{job}/wind" for job in JOBS]

    def test_schedules_come_from_the_product(self, archive: Path, here: Settings, client: SyncPrefectClient) -> None:
        register([archive], here)
        deployment = client.read_deployment_by_name("forecast/wind")
        (schedule,) = deployment.schedules
        assert (schedule.slug, schedule.schedule) == (
            "forecast-wind",
            CronSchedule(cron="0 7 * * *", timezone="UTC"),
        )
        assert client.read_deployment_by_name("promote/wind").schedules == []

    def test_runs_once_at_a_time_and_refuses_another(
        self, archive: Path, here: Settings, client: SyncPrefectClient
    ) -> None:
        register([archive], here)
        deployment = client.read_deployment_by_name("ingest/wind")
        assert deployment.global_concurrency_limit is not None
        assert deployment.global_concurrency_limit.limit == 1
        assert deployment.concurrency_options is not None
        assert deployment.concurrency_options.collision_strategy == ConcurrencyLimitStrategy.CANCEL_NEW

    def test_passes_the_settings_on_without_the_secrets(
        self, archive: Path, here: Settings, client: SyncPrefectClient
    ) -> None:
        register([archive], here)
        deployment = client.read_deployment_by_name("ingest/wind")
        environment = deployment.job_variables["env"]
        assert environment["NIGHTCAST_HOME"] == str(here.home)
        assert environment["NIGHTCAST_TRACKING_URI"] == "http://127.0.0.1:5001"
        assert here.secrets["feed"].get_secret_value() == "canary-7f3a"
        assert "canary-7f3a" not in deployment.model_dump_json()

    def test_what_any_package_logs_reaches_the_log_of_the_run(
        self, archive: Path, here: Settings, client: SyncPrefectClient
    ) -> None:
        register([archive], here)
        given = client.read_deployment_by_name("ingest/wind").job_variables["env"]["PREFECT_LOGGING_EXTRA_LOGGERS"]
        forwarded = LoggingSettings(extra_loggers=given).extra_loggers
        loggers = [forward_pass.log, cache.log, versions.log]
        assert {logger.name.partition(".")[0] for logger in loggers} == {"models", "pipeline"}
        assert set(forwarded or ()) == {"pipeline", "models", "flows"}

    def test_needs_no_checkout(self, archive: Path, here: Settings, client: SyncPrefectClient) -> None:
        register([archive], here)
        deployment = client.read_deployment_by_name("retrain/wind")
        assert (deployment.entrypoint, deployment.path) == ("flows.retrain.retrain", None)
        assert deployment.parameters == {"product": str(archive)}

    def test_a_second_time_changes_nothing_and_leaves_a_paused_schedule_paused(
        self, archive: Path, here: Settings, client: SyncPrefectClient
    ) -> None:
        register([archive], here)
        before = client.read_deployment_by_name("verify/wind")
        client.request(
            "PATCH",
            "/deployments/{id}/schedules/{schedule_id}",
            path_params={"id": before.id, "schedule_id": before.schedules[0].id},
            json={"active": False},
        )
        register([archive], here)
        after = client.read_deployment_by_name("verify/wind")
        assert (after.id, [schedule.active for schedule in after.schedules]) == (before.id, [False])

    def test_a_stale_run_is_crashed_and_its_deployment_runs_again(
        self, archive: Path, here: Settings, client: SyncPrefectClient
    ) -> None:
        register([archive], here)
        deployment = client.read_deployment_by_name("retrain/wind")
        cut_off, refused, again = (client.create_flow_run_from_deployment(deployment.id).id for _ in range(3))
        client.set_flow_run_state(cut_off, Pending())
        client.set_flow_run_state(cut_off, Running())
        client.set_flow_run_state(refused, Pending())
        assert crash_stale_runs() == 1
        client.set_flow_run_state(again, Pending())
        names = [client.read_flow_run(run).state_name for run in (cut_off, refused, again)]
        assert names == ["Crashed", "Cancelled", "Pending"]
        assert crash_stale_runs() == 1

    def test_a_run_whose_state_the_server_does_not_change_is_tried_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run, tried = SimpleNamespace(id=uuid4()), []

        def refuse(run_id: UUID, *_: object, **__: object) -> SimpleNamespace:
            tried.append(run_id)
            assert len(tried) < 9
            return SimpleNamespace(status=SetStateStatus.REJECT)

        client = SimpleNamespace(read_flow_runs=lambda **_: [run], set_flow_run_state=refuse)
        monkeypatch.setattr("flows.stale_runs.get_client", lambda **_: nullcontext(client))
        assert crash_stale_runs() == 0
        assert tried == [run.id]

    def test_runs_know_the_address_of_the_pages(self, archive: Path, here: Settings, tmp_path: Path) -> None:
        register([archive], here, pages="http://127.0.0.1:8300")
        issue = tmp_path / "19781231T070000Z"
        markdown, _ = describe("Wind", samples.forecasted(issue))
        assert "[Open the report](http://127.0.0.1:8300/wind/19781231T070000Z/report.html)" in markdown
