"""The commands that are not a job: schema, check, demo."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.arguments import AsJson, ProductFile, open_workspace


def add_to(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command()
    def schema(
        markdown: Annotated[bool, typer.Option("--markdown", help="Print the reference of all fields.")] = False,
    ) -> None:
        """Print the JSON Schema of a product file, for editors and forms."""
        from pipeline.config.reference import product_reference, product_schema

        sys.stdout.write(product_reference() if markdown else json.dumps(product_schema(), indent=2) + "\n")

    @app.command()
    def check(product: ProductFile, as_json: AsJson = False) -> None:
        """Check a product file, its models and its locations, and try to read its sources."""
        from rich.markup import escape

        from pipeline.cli.console import out, print_data

        with open_workspace(product) as ws:
            from pipeline.jobs.check import check_product, is_warning

            facts = check_product(ws, at=datetime.now(UTC))
        if as_json:
            print_data(facts)
            return
        for name, value in facts.items():
            sign = "[yellow]![/]" if is_warning(name) else "[green]✓[/]"
            out.print(f"{sign} {escape(name)}: {escape(value)}")

    @app.command()
    def demo(as_json: AsJson = False) -> None:
        """Replay two weeks of real data in minutes: ingest, retrain, forecast, verify. Needs no network."""
        from pipeline.cli.console import err, print_data
        from pipeline.cli.progress import ProgressLines
        from pipeline.cli.views.demo import show
        from pipeline.config import settings
        from pipeline.demo.run import run_demo

        with ProgressLines(err, "demo") as on_progress:
            outcome = run_demo(settings(), report=err.print, on_progress=on_progress)
        print_data(outcome.as_data()) if as_json else show(outcome, Path.cwd())
