from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import ConcurrencyLimitStrategy
from prefect.client.schemas.schedules import CronSchedule
from prefect.states import Pending, Running

from flows.artifacts import of_forecast
from flows.deployments import BY_HAND, SCHEDULED, register
from flows.interrupted import end_interrupted
from flows.parameters import TITLES, form
from pipeline.config import Settings
from tests.flows import samples

JOBS = ("ingest", "forecast", "retrain", "verify", "maintain", "promote", "rollback", "backfill", "release")


class TestForm:
    @pytest.mark.parametrize("flow", SCHEDULED + BY_HAND, ids=lambda flow: flow.name)
    def test_every_parameter_has_a_title_and_a_description(self, flow: Any) -> None:
        schema = form(flow)
        assert next(iter(schema.properties)) == "product"
        for name, field in schema.properties.items():
            assert field["title"] == TITLES[name]
            assert field["description"].endswith(".")

    def test_a_version_is_a_number_from_one_and_a_reason_is_needed(self) -> None:
        schema = form(BY_HAND[0])
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

    def test_f39_hands_on_the_settings_without_the_secrets(
        self, archive: Path, here: Settings, client: SyncPrefectClient
    ) -> None:
        register([archive], here)
        deployment = client.read_deployment_by_name("ingest/wind")
        environment = deployment.job_variables["env"]
        assert environment["NIGHTCAST_HOME"] == str(here.home)
        assert environment["NIGHTCAST_TRACKING_URI"] == "http://127.0.0.1:5001"
        assert here.secrets["feed"].get_secret_value() == "canary-7f3a"
        assert "canary-7f3a" not in deployment.model_dump_json()

    def test_needs_no_checkout(self, archive: Path, here: Settings, client: SyncPrefectClient) -> None:
        register([archive], here)
        deployment = client.read_deployment_by_name("retrain/wind")
        assert (deployment.entrypoint, deployment.path) == ("flows.retrain.retrain", None)
        assert deployment.parameters == {"product": str(archive)}

    def test_again_changes_nothing_and_leaves_a_paused_schedule_paused(
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

    def test_f24_a_run_that_an_outage_cut_off_is_crashed_and_its_deployment_runs_again(
        self, archive: Path, here: Settings, client: SyncPrefectClient
    ) -> None:
        register([archive], here)
        deployment = client.read_deployment_by_name("retrain/wind")
        cut_off, refused, again = (client.create_flow_run_from_deployment(deployment.id).id for _ in range(3))
        client.set_flow_run_state(cut_off, Pending())
        client.set_flow_run_state(cut_off, Running())
        client.set_flow_run_state(refused, Pending())
        assert end_interrupted() == 1
        client.set_flow_run_state(again, Pending())
        names = [client.read_flow_run(run).state_name for run in (cut_off, refused, again)]
        assert names == ["Crashed", "Cancelled", "Pending"]
        assert end_interrupted() == 1

    def test_tells_runs_where_the_pages_are(self, archive: Path, here: Settings, tmp_path: Path) -> None:
        register([archive], here, pages="http://127.0.0.1:8300")
        issue = tmp_path / "19781231T070000Z"
        markdown, _ = of_forecast("Wind", samples.forecasted(issue))
        assert "[Open the report](http://127.0.0.1:8300/wind/19781231T070000Z/report.html)" in markdown
