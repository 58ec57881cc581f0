"""Commands about which model serves: models, promote, rollback."""

from __future__ import annotations

import getpass
import os
from typing import Annotated

import typer

from pipeline.cli import show
from pipeline.cli.arguments import AsJson, ProductFile, open_workspace
from pipeline.cli.console import print_json

Why = Annotated[str, typer.Option("--why", help="Reason for the ledger.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the tree."""

    @app.command()
    def models(product: ProductFile, as_json: AsJson = False) -> None:
        """List the registry versions of a product and the ledger of what was in service."""
        from pipeline.jobs import models as job

        result = job.models(open_workspace(product))
        print_json(result) if as_json else show.models(result)

    @app.command()
    def promote(
        product: ProductFile,
        version: Annotated[int, typer.Argument(help="Registry version to put into service.")],
        why: Why,
        as_json: AsJson = False,
    ) -> None:
        """Put a version into service past the gate, by your word."""
        from pipeline.jobs import promote as job

        result = job.promote(open_workspace(product), version=version, who=caller(), why=why)
        print_json(result) if as_json else show.promotion(result)

    @app.command()
    def rollback(product: ProductFile, why: Why, as_json: AsJson = False) -> None:
        """Put the version into service that served before the present champion."""
        from pipeline.jobs import promote as job

        result = job.rollback(open_workspace(product), who=caller(), why=why)
        print_json(result) if as_json else show.promotion(result)


def caller() -> str:
    """Return the name of whoever runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        return f"user {os.getuid()}"
