"""Commands that need no stores: schema, check, demo."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.arguments import AsJson, ProductFile
from pipeline.cli.console import err, out, print_data


def add_to(app: typer.Typer) -> None:
    """Add the commands to the tree."""

    @app.command()
    def schema(
        markdown: Annotated[bool, typer.Option("--markdown", help="Print the reference of every field.")] = False,
    ) -> None:
        """Print the JSON Schema of a product file, for editors and forms."""
        from pipeline.config.reference import product_reference, product_schema

        sys.stdout.write(product_reference() if markdown else json.dumps(product_schema(), indent=2) + "\n")

    @app.command()
    def check(product: ProductFile, as_json: AsJson = False) -> None:
        """Tell whether a product file is right and its source can be reached."""
        from pipeline.config import settings
        from pipeline.jobs.check import check_product

        found = check_product(product, settings(), at=datetime.now(UTC))
        if as_json:
            print_data(found)
            return
        for name, value in found.items():
            out.print(f"[green]✓[/] {name}: {value}")

    @app.command()
    def demo(as_json: AsJson = False) -> None:
        """Live through two weeks of real data in minutes: ingest, retrain, forecast, verify. Needs no network."""
        from pipeline.cli.progress import ProgressLines
        from pipeline.cli.summary import print_summary
        from pipeline.config import settings
        from pipeline.demo.run import run_demo

        with ProgressLines(err, "demo") as on_progress:
            outcome = run_demo(settings(), report=err.print, on_progress=on_progress)
        print_data(outcome.as_data()) if as_json else print_summary(outcome, Path.cwd())
