"""The Prefect server as `nightcast up` starts it. It once looked healthy and never made a run of a schedule."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from threading import Event

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.servers import Installation, Ports, responds
from flows.supervise import ProcessGroup, run
from pipeline.config import Settings

pytestmark = pytest.mark.servers


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    home = tmp_path_factory.mktemp("home")
    installation = Installation(Settings(home=home), Ports(*free_ports(4)))
    with ProcessGroup(Event()) as group:
        prefect = installation.prefect()
        group.start(prefect)
        group.wait_until_healthy(prefect)
        yield installation
    assert not responds(installation.ports.prefect, "/api/health")


@pytest.fixture
def client(installation: Installation) -> Iterator[SyncPrefectClient]:
    with (
        temporary_settings({PREFECT_API_URL: f"{installation.prefect_url}/api"}),
        get_client(sync_client=True) as client,
    ):
        yield client


def test_a_schedule_becomes_scheduled_runs(
    installation: Installation, client: SyncPrefectClient, archive: Path
) -> None:
    command = [sys.executable, "-m", "flows.deployments", str(archive)]
    run(command, installation.environment(), installation.log("deployments"), name="register", stop=Event())
    names = json.loads(installation.log("deployments").read_text())
    scheduled = ("ingest", "forecast", "retrain", "verify", "maintain")
    by_hand = ("promote", "rollback", "backfill", "backtest", "explain", "search", "release")
    assert names == [f"{job}/wind" for job in (*scheduled, *by_hand)]

    wanted = {client.read_deployment_by_name(f"{job}/wind").id for job in scheduled}
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        runs = client.read_flow_runs(limit=200)
        if wanted <= {found.deployment_id for found in runs if found.state and found.state.is_scheduled()}:
            break
        time.sleep(0.2)
    else:
        pytest.fail(f"no Scheduled runs; {installation.log('prefect').read_text()[-2000:]}")
    assert all(found.auto_scheduled for found in runs)


def request(installation: Installation, method: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str]]:
    connection = HTTPConnection("127.0.0.1", installation.ports.prefect, timeout=30)
    connection.request(method, path, body="{}", headers={"Content-Type": "application/json", **headers})
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status, {name.lower(): value for name, value in response.getheaders()}


def test_other_origins_can_neither_read_nor_write(installation: Installation) -> None:
    evil = {"Origin": "http://evil.example"}
    _, headers = request(installation, "POST", "/api/flow_runs/filter", evil)
    assert headers.get("access-control-allow-origin") not in ("*", evil["Origin"])
    assert request(installation, "POST", "/api/work_pools/", evil)[0] == 403


def test_the_page_finds_its_server_under_any_name(installation: Installation) -> None:
    connection = HTTPConnection("127.0.0.1", installation.ports.prefect, timeout=30)
    connection.request("GET", "/ui-settings")
    served = json.loads(connection.getresponse().read())
    connection.close()
    assert (served["api_url"], served["csrf_enabled"]) == ("/api", True)
