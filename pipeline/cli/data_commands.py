"""Commands about the data at rest: backfill, quarantine, maintain."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from pipeline.cli import show_data
from pipeline.cli.arguments import AsJson, At, ProductFile, open_workspace
from pipeline.cli.console import print_json, spinner
from pipeline.cli.registry_commands import Why, caller
from pipeline.errors import UsageError
from pipeline.jobs.job import Progress

DAMAGED = 1
Ids = Annotated[list[str] | None, typer.Argument(help="Ids of rows, or enough of their beginnings.")]
Reason = Annotated[str, typer.Option("--reason", help="All rows whose reason holds this text.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the tree."""

    @app.command()
    def backfill(
        product: ProductFile,
        since: Annotated[str, typer.Option("--since", metavar="T", help="First valid time, ISO 8601, UTC.")],
        until: Annotated[str, typer.Option("--until", metavar="T", help="Last valid time.")],
        part: Annotated[str, typer.Option("--part", metavar="K/N", help="The k-th of n parts of the work.")] = "1/1",
        at: At = None,
        as_json: AsJson = False,
    ) -> None:
        """Take in a range of the past, piece by piece; what an earlier run finished is not repeated."""
        from pipeline.jobs import backfill
        from pipeline.times import parse_instant, parse_optional

        with spinner("looking for what covers the range") as progress:

            def show(piece: Progress) -> None:
                line = str(piece)
                progress.update(progress.task_ids[0], description=line)

            result = backfill.backfill(
                open_workspace(product),
                since=parse_instant(since),
                until=parse_instant(until),
                part=_part(part),
                at=parse_optional(at),
                on_progress=show,
            )
        print_json(result) if as_json else show_data.backfill(result)
        show_data.end_with_faults(result)

    @app.command()
    def maintain(
        product: ProductFile,
        repair: Annotated[
            bool, typer.Option("--repair", help="Set damaged commits aside and take their payloads in again.")
        ] = False,
        at: At = None,
        as_json: AsJson = False,
    ) -> None:
        """Check every digest, compact, delete what nothing names. Exit code 1 when there is damage."""
        from pipeline.jobs import maintain
        from pipeline.times import parse_optional

        with spinner("checking every digest"):
            result = maintain.maintain(open_workspace(product), repair=repair, at=parse_optional(at))
        print_json(result) if as_json else show_data.maintenance(result)
        if result.damage:
            raise typer.Exit(DAMAGED)

    quarantine = typer.Typer(help="Refused rows: list, show, release, drop.", no_args_is_help=True)
    app.add_typer(quarantine, name="quarantine")

    @quarantine.command("list")
    def list_(product: ProductFile, as_json: AsJson = False) -> None:
        """Count the rows in quarantine by reason."""
        from pipeline.jobs import quarantine

        result = quarantine.list_refused(open_workspace(product))
        print_json(result) if as_json else show_data.quarantine(result)

    @quarantine.command()
    def show(
        product: ProductFile,
        ids: Ids = None,
        reason: Reason = "",
        limit: Annotated[int, typer.Option("--limit", min=1, help="How many rows to show.")] = 20,
        as_json: AsJson = False,
    ) -> None:
        """Show rows in quarantine: what was given, why it was refused, and the id that releases it."""
        from pipeline.jobs import quarantine

        result = quarantine.show_refused(open_workspace(product), ids=ids or (), reason=reason, limit=limit)
        print_json(result) if as_json else show_data.refused_rows(result)

    @quarantine.command()
    def release(
        product: ProductFile,
        why: Why,
        ids: Ids = None,
        reason: Reason = "",
        override: Annotated[
            bool, typer.Option("--override", help="Let values in that the contract refuses: by your word.")
        ] = False,
        as_json: AsJson = False,
    ) -> None:
        """Let rows enter the observations by the same door: decoded and judged anew by the product file of today."""
        from pipeline.jobs import release as job

        result = job.release(
            open_workspace(product),
            who=caller(),
            why=why,
            ids=ids or (),
            reason=reason,
            override=override,
        )
        print_json(result) if as_json else show_data.released(result)

    @quarantine.command()
    def drop(product: ProductFile, why: Why, ids: Ids = None, reason: Reason = "", as_json: AsJson = False) -> None:
        """Put rows aside for good. They are kept, and no longer listed."""
        from pipeline.jobs import release as job

        result = job.drop(open_workspace(product), who=caller(), why=why, ids=ids or (), reason=reason)
        print_json(result) if as_json else show_data.released(result)


def _part(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if match is None:
        raise UsageError(f"part: {text!r} is no part; write K/N, e.g. 2/8")
    return int(match[1]), int(match[2])
