"""The command `nightcast up`: every service on this machine. It imports what it runs only when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import LOOPBACK
from pipeline.errors import UsageError


def up(
    products: Annotated[list[Path] | None, typer.Argument(help="Product files. Default: those of Nightcast.")] = None,
    port_prefect: Annotated[int, typer.Option(help="Port of the Prefect server.", min=1, max=65535)] = 4200,
    port_mlflow: Annotated[int, typer.Option(help="Port of the MLflow server.", min=1, max=65535)] = 5000,
    port_pages: Annotated[int, typer.Option(help="Port of the report pages.", min=1, max=65535)] = 8300,
    host: Annotated[str, typer.Option(help="Address to listen on; only that of this machine is allowed.")] = LOOPBACK,
    as_json: Annotated[bool, typer.Option("--json", help="Print the addresses as JSON once everything runs.")] = False,
) -> None:
    """Start both servers, a worker and the report pages, and schedule every job. Ctrl-C stops everything."""
    if host not in (LOOPBACK, "localhost"):
        raise UsageError(f"--host {host} would give others access without a password; only {LOOPBACK} is allowed")
    from flows.local_services import run_local_services
    from pipeline.config import settings

    run_local_services(
        settings(), products or [], prefect=port_prefect, mlflow=port_mlflow, site=port_pages, as_json=as_json
    )
