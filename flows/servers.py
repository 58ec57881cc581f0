"""The programs of a laptop: Prefect's server, MLflow's server and a worker: commands, variables, health."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from flows.environment import POOL, environment_of
from flows.supervise import Service
from pipeline.config import Settings

LOOPBACK = "127.0.0.1"
RUNS_AT_ONCE = max(4, os.cpu_count() or 1)
_FOREIGN = {"PREFECT_API_KEY", "PREFECT_PROFILE", "PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILES_PATH"}


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens."""

    prefect: int
    mlflow: int
    pages: int
    worker: int
    """Health of the worker."""


@dataclass(frozen=True, slots=True)
class Installation:
    """One home with its servers on this machine."""

    settings: Settings
    ports: Ports

    @property
    def home(self) -> Path:
        """Folder of every store."""
        return self.settings.home

    @property
    def prefect_url(self) -> str:
        """Address of the Prefect server."""
        return f"http://{LOOPBACK}:{self.ports.prefect}"

    @property
    def mlflow_url(self) -> str:
        """Address of the MLflow server: ours, or the one in the settings."""
        return self.settings.tracking_uri or f"http://{LOOPBACK}:{self.ports.mlflow}"

    @property
    def pages_url(self) -> str:
        """Address of the report pages."""
        return f"http://{LOOPBACK}:{self.ports.pages}"

    def log(self, name: str) -> Path:
        """Return the log of a program."""
        return self.home / "logs" / f"{name}.log"

    def environment(self) -> dict[str, str]:
        """Return the environment of every program: ours, with these servers, and no word to anybody else."""
        inherited = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
        return (
            inherited
            | environment_of(self.settings)
            | {
                "NIGHTCAST_PREFECT_API_URL": f"{self.prefect_url}/api",
                "PREFECT_API_URL": f"{self.prefect_url}/api",
                "PREFECT_HOME": str(self.home / "prefect"),
                "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
                "DO_NOT_TRACK": "1",
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "GIT_PYTHON_REFRESH": "quiet",
                "PYTHONUNBUFFERED": "1",
            }
        )

    def prefect(self) -> Service:
        """Return the Prefect server: on SQLite, closed to pages of other origins."""
        environment = self.environment() | {
            "PREFECT_SERVER_API_HOST": LOOPBACK,
            "PREFECT_SERVER_API_PORT": str(self.ports.prefect),
            "PREFECT_UI_API_URL": "/api",  # whatever name the browser uses for this machine
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": self.prefect_url,
            "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
            # A job that was killed blocks the next run of its deployment for this long.
            "PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION": "60",
        }
        command = [sys.executable, "-m", "prefect", "server", "start"]
        command += ["--host", LOOPBACK, "--port", str(self.ports.prefect)]
        return Service(
            "the Prefect server",
            command,
            environment,
            self.log("prefect"),
            lambda: answers(self.ports.prefect, "/api/ready"),
        )

    def mlflow(self) -> Service:
        """Return the MLflow server on the SQLite file that every job writes; artifacts lie beside it."""
        artifacts = self.home / "mlflow" / "artifacts"
        hosts = ",".join(f"{name}:{self.ports.mlflow}" for name in (LOOPBACK, "localhost"))
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", self.settings.mlflow_uri]
        command += ["--default-artifact-root", artifacts.as_uri(), "--no-serve-artifacts", "--workers", "1"]
        command += ["--host", LOOPBACK, "--port", str(self.ports.mlflow), "--allowed-hosts", hosts]
        environment = self.environment() | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        return Service(
            "the MLflow server",
            command,
            environment,
            self.log("mlflow"),
            lambda: answers(self.ports.mlflow, "/health"),
        )

    def mlflow_upgrade(self) -> list[str]:
        """Return the command that makes or renews the tables before processes meet on an empty file."""
        return [sys.executable, "-m", "mlflow", "db", "upgrade", self.settings.mlflow_uri]

    def worker(self) -> Service:
        """Return the worker, whose health only this machine can read."""
        environment = self.environment() | {
            "PREFECT_WORKER_WEBSERVER_HOST": LOOPBACK,
            "PREFECT_WORKER_WEBSERVER_PORT": str(self.ports.worker),
            "PREFECT_WORKER_QUERY_SECONDS": "3",
        }
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
        command += [
            "--name",
            "laptop",
            "--limit",
            str(RUNS_AT_ONCE),
            "--with-healthcheck",
            "--install-policy",
            "never",
        ]
        return Service(
            "the worker",
            command,
            environment,
            self.log("worker"),
            lambda: answers(self.ports.worker, "/health"),
            grace=20.0,  # it tells the server how its runs ended
        )


def answers(port: int, path: str) -> bool:
    """Whether a server on this machine answers a request with 200."""
    connection = HTTPConnection(LOOPBACK, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
