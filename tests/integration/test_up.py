"""`nightcast up` as a person uses it: start, run every job from the scheduler, look, stop. Nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.supervise import alive
from pipeline.paths import deploy_folder

pytestmark = [
    pytest.mark.servers,
    # Prefect leaves sockets of its clients to the garbage collector.
    pytest.mark.filterwarnings(r"ignore:Exception ignored in. <socket\.socket:pytest.PytestUnraisableExceptionWarning"),
]
JOBS = ("ingest", "retrain", "promote", "forecast", "verify", "rollback")
TRAINING = "training: {candidates: [ridge-var], window: 2y, validation: 60, budget: 2min}\ngate: {issues: 60}"


@dataclass(frozen=True)
class Up:
    process: subprocess.Popen[str]
    home: Path
    prefect: str
    mlflow: str
    pages: str

    def family(self) -> list[psutil.Process]:
        children: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        return children


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        time.sleep(0.2)
    return found


def free_ports() -> Iterator[int]:
    probes = [socket.socket() for _ in range(3)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return iter(ports)


def refused(folder: Path, *arguments: str) -> tuple[int, str]:
    with start(folder, *arguments) as process:
        code = process.wait(60)
    return code, (folder / "stderr").read_text().splitlines()[-1]


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "NIGHTCAST_"))}
    with (folder / "stderr").open("a") as stderr:
        return subprocess.Popen(
            [sys.executable, "-c", "from pipeline.cli import main; main()", "up", *arguments],
            cwd=folder,
            env=environment | {"NIGHTCAST_HOME": str(folder / "home")},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )


def ready(folder: Path, *arguments: str) -> Up:
    options = ("--port-prefect", "--port-mlflow", "--port-pages")
    ports = [text for option, port in zip(options, free_ports(), strict=True) for text in (option, str(port))]
    process = start(folder, *arguments, *ports, "--json")
    assert process.stdout is not None
    with process.stdout as output:
        line = output.readline()
    assert line, (folder / "stderr").read_text()
    addresses = json.loads(line)
    return Up(process, Path(addresses["home"]), addresses["prefect"], addresses["mlflow"], addresses["pages"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("up")
    shipped = deploy_folder() / "products" / "ireland-wind.yaml"
    text = shipped.read_text().replace("../samples", str(deploy_folder() / "samples")).replace("ireland-wind", "wind")
    lines = [line for line in text.splitlines() if not line.startswith(("training:", "gate:"))]
    (folder / "wind.yaml").write_text("\n".join([*lines, TRAINING]))
    return folder


@pytest.fixture(scope="module")
def up(folder: Path) -> Iterator[Up]:
    one = ready(folder, "wind.yaml")
    yield one
    if one.process.poll() is None:
        one.process.send_signal(signal.SIGINT)
        one.process.wait(60)


@pytest.fixture
def client(up: Up) -> Iterator[SyncPrefectClient]:
    with temporary_settings({PREFECT_API_URL: f"{up.prefect}/api"}), get_client(sync_client=True) as client:
        yield client


def get(url: str, path: str) -> tuple[int, bytes]:
    connection = HTTPConnection(str(urlsplit(url).netloc), timeout=30)
    connection.request("GET", path)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, content


def finished(client: SyncPrefectClient, run: FlowRun) -> FlowRun | None:
    found = client.read_flow_run(run.id)
    return found if found.state and found.state.is_final() else None


def test_every_deployment_completes(up: Up, client: SyncPrefectClient) -> None:
    parameters: dict[str, dict[str, Any]] = {
        "promote": {"version": 1, "why": "the test wants a champion"},
        "rollback": {"why": "and no other"},
    }
    names = {}
    for job in JOBS:
        deployment = client.read_deployment_by_name(f"{job}/wind")
        run = client.create_flow_run_from_deployment(deployment.id, parameters=parameters.get(job, {}))
        done = wait_for(partial(finished, client, run), 180, f"{job} ends")
        names[job] = (done.state.name, done.state.message)
    assert names["retrain"][0] in ("Completed", "Champion kept")
    assert names["rollback"][1].startswith("Refused: "), "nothing served before"
    for job in ("ingest", "promote", "forecast", "verify"):
        assert names[job][0] == "Completed", names[job]


def test_the_form_of_a_deployment_is_served(client: SyncPrefectClient) -> None:
    schema = client.read_deployment_by_name("promote/wind").parameter_openapi_schema
    assert schema is not None
    assert schema["properties"]["version"]["title"] == "Version of the model"
    assert schema["required"] == ["product", "version", "why"]


def test_the_registry_names_the_champion(up: Up) -> None:
    from mlflow.tracking import MlflowClient

    champion = MlflowClient(tracking_uri=up.mlflow, registry_uri=up.mlflow).get_model_version_by_alias(
        "wind", "champion"
    )
    assert str(champion.version) == "1"
    assert get(up.mlflow, f"/ajax-api/2.0/mlflow/artifacts/list?run_id={champion.run_id}")[0] == 200


def test_the_page_server_shows_the_report_and_nothing_else(up: Up) -> None:
    assert b"/wind/latest/report.html" in get(up.pages, "/")[1]
    status, report = get(up.pages, "/wind/latest/report.html")
    assert (status, b"<script" in report) == (200, False)
    assert get(up.pages, "/wind/latest/../../observations/_delta_log/00000000000000000000.json")[0] == 404


def test_everything_listens_on_this_machine_only(up: Up) -> None:
    listening = [
        connection.laddr.ip
        for process in [psutil.Process(up.process.pid), *up.family()]
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 4
    assert set(listening) == {"127.0.0.1"}


def test_a_second_installation_in_the_same_home_is_refused(up: Up, folder: Path) -> None:
    code, line = refused(folder, "wind.yaml")
    assert (code, "already runs for" in line) == (2, True)


def test_an_interrupt_leaves_no_process(up: Up) -> None:
    family = up.family()
    assert len(family) >= 3
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(60) == 0
    assert [process for process in family if alive(process)] == []


def test_the_death_of_a_server_stops_the_others_and_is_reported(folder: Path) -> None:
    again = ready(folder, "wind.yaml")
    family = again.family()
    (mlflow,) = [one for one in family if "server" in one.cmdline() and "mlflow" in one.cmdline()]
    mlflow.kill()
    assert again.process.wait(60) == 1
    assert [process for process in family if alive(process)] == []
    assert "the MLflow server ended with code -9" in (folder / "stderr").read_text()


def test_a_port_in_use_is_wrong_use(folder: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        probe.listen()
        port = probe.getsockname()[1]
        code, line = refused(folder, "wind.yaml", "--port-prefect", str(port))
    assert (code, f"port {port} is in use" in line) == (2, True)


def test_listening_beyond_this_machine_is_refused(folder: Path) -> None:
    code, line = refused(folder, "wind.yaml", "--host", "0.0.0.0")  # noqa: S104
    assert (code, "without a password" in line) == (2, True)
