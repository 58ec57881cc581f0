"""Commands that run a job: ingest, retrain, forecast, verify, status."""

from __future__ import annotations

import typer

from pipeline.cli import show, show_data
from pipeline.cli.arguments import AsJson, At, ProductFile, Since, Until, open_workspace
from pipeline.cli.console import err, print_json, spinner

REFUSED = 4


def add_to(app: typer.Typer) -> None:
    """Add the commands to the tree."""

    @app.command()
    def ingest(
        product: ProductFile, at: At = None, since: Since = None, until: Until = None, as_json: AsJson = False
    ) -> None:
        """Take in what the source has new; refused rows go to quarantine with a reason."""
        from pipeline.jobs import ingest
        from pipeline.times import parse_optional

        with spinner("reading the source and checking every row"):
            result = ingest.ingest(
                open_workspace(product),
                at=parse_optional(at),
                since=parse_optional(since),
                until=parse_optional(until),
            )
        print_json(result) if as_json else show_data.ingest(result)
        show_data.end_with_faults(result)

    @app.command()
    def retrain(product: ProductFile, at: At = None, as_json: AsJson = False) -> None:
        """Train challengers and let the gate decide. Exit code 4 when it refuses: the champion stays."""
        from pipeline.cli.progress import ProgressLines
        from pipeline.jobs import retrain
        from pipeline.times import parse_optional

        with ProgressLines(err, "retrain") as on_progress:
            result = retrain.retrain(open_workspace(product), at=parse_optional(at), on_progress=on_progress)
        print_json(result) if as_json else show.retrain(result)
        if not result.verdict.promoted:
            raise typer.Exit(REFUSED)

    @app.command()
    def forecast(
        product: ProductFile, at: At = None, since: Since = None, until: Until = None, as_json: AsJson = False
    ) -> None:
        """Forecast and publish the latest issue time, or every one of a window."""
        from pipeline.jobs import forecast
        from pipeline.times import parse_optional

        with spinner("forecasting"):
            results = forecast.forecast(
                open_workspace(product),
                at=parse_optional(at),
                since=parse_optional(since),
                until=parse_optional(until),
            )
        print_json(results) if as_json else show.forecasts(results)

    @app.command()
    def verify(product: ProductFile, at: At = None, as_json: AsJson = False) -> None:
        """Score matured forecasts against what came true."""
        from pipeline.jobs import verify
        from pipeline.times import parse_optional

        with spinner("scoring matured forecasts"):
            result = verify.verify(open_workspace(product), at=parse_optional(at))
        print_json(result) if as_json else show.verification(result)

    @app.command()
    def status(product: ProductFile, at: At = None, as_json: AsJson = False) -> None:
        """Tell whether a product is fresh, late or broken, what serves it and how well."""
        from pipeline.jobs import status as job
        from pipeline.times import parse_optional

        result = job.status(open_workspace(product), at=parse_optional(at))
        print_json(result) if as_json else show.status(result)
