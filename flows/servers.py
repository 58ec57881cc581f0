"""The local services: Prefect server, MLflow server and worker, with their commands, environment and health."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from flows import LOOPBACK
from flows.environment import POOL, environment_of
from flows.supervise import Service
from pipeline.config import Settings

CONCURRENT_RUNS = max(4, os.cpu_count() or 1)
_REMOVED_VARIABLES = {"PREFECT_API_KEY", "PREFECT_PROFILE", "PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILES_PATH"}


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of all servers."""

    prefect: int
    mlflow: int
    pages: int
    worker: int
    """For the health of the worker."""


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
        """Return the log file of a service."""
        return self.home / "logs" / f"{name}.log"

    def environment(self) -> dict[str, str]:
        """Return the environment of every service: this process's, with the servers' addresses, without telemetry."""
        inherited = {name: value for name, value in os.environ.items() if name not in _REMOVED_VARIABLES}
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
        """Return the Prefect server, on SQLite, which refuses requests from pages of other origins."""
        environment = self.environment() | {
            "PREFECT_SERVER_API_HOST": LOOPBACK,
            "PREFECT_SERVER_API_PORT": str(self.ports.prefect),
            "PREFECT_UI_API_URL": "/api",  # relative, so that any name of this machine works
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": self.prefect_url,
            "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
            # A killed job blocks the next run of its deployment for this many seconds.
            "PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION": "60",
        }
        command = [sys.executable, "-m", "prefect", "server", "start"]
        command += ["--host", LOOPBACK, "--port", str(self.ports.prefect)]
        return Service(
            "the Prefect server",
            command,
            environment,
            self.log("prefect"),
            lambda: responds(self.ports.prefect, "/api/ready"),
        )

    def mlflow(self) -> Service:
        """Return the MLflow server, on the SQLite file that every job writes to, with the artifacts beside it."""
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
            lambda: responds(self.ports.mlflow, "/health"),
        )

    def mlflow_upgrade(self) -> list[str]:
        """Return the command that creates or upgrades the tables, before several processes open an empty file."""
        return [sys.executable, "-m", "mlflow", "db", "upgrade", self.settings.mlflow_uri]

    def worker(self) -> Service:
        """Return the worker; only this machine can query its health."""
        environment = self.environment() | {
            "PREFECT_WORKER_WEBSERVER_HOST": LOOPBACK,
            "PREFECT_WORKER_WEBSERVER_PORT": str(self.ports.worker),
            "PREFECT_WORKER_QUERY_SECONDS": "3",
        }
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
        command += [
            "--name",
            "local",
            "--limit",
            str(CONCURRENT_RUNS),
            "--with-healthcheck",
            "--install-policy",
            "never",
        ]
        return Service(
            "the worker",
            command,
            environment,
            self.log("worker"),
            lambda: responds(self.ports.worker, "/health"),
            stop_timeout=20.0,  # it reports the end of its runs to the server
        )


def responds(port: int, path: str) -> bool:
    """Whether a server on this machine responds to a request with status 200."""
    connection = HTTPConnection(LOOPBACK, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
