"""What an ingest stored."""

from __future__ import annotations

from rich.markup import escape

from pipeline.cli.console import err, minute, out
from pipeline.jobs.ingest import FeedResult, IngestResult

SHOWN_WARNINGS = 5


def show(result: IngestResult) -> None:
    """Print the counts of every feed."""
    show_feed(result.product, result)
    for name, covariate in result.covariates.items():
        show_feed(f"{result.product}.{name}", covariate)


def show_feed(title: str, result: FeedResult) -> None:
    """Print the counts of a feed, reasons for refusal and warnings; faults go to stderr."""
    newest = result.newest_period or minute(result.newest)
    if not result.payloads and not result.faults:
        out.print(f"{title}: nothing new; newest value {newest}")
        return
    thinned = f"{result.thinned:,} left out, " if result.thinned else ""
    out.print(
        f"{title}: {result.added:,} new rows, {result.revised:,} revised, {result.unchanged:,} unchanged, "
        f"{thinned}{result.refused:,} refused, from {result.payloads:,} payloads; newest value {newest}"
    )
    for reason, count in result.reasons.items():
        out.print(f"  [yellow]refused {count:,}[/]  {escape(reason)}")
    for warning in result.warnings[:SHOWN_WARNINGS]:
        out.print(f"  [yellow]note[/]  {escape(warning)}")
    if len(result.warnings) > SHOWN_WARNINGS:
        out.print(f"  and {len(result.warnings) - SHOWN_WARNINGS:,} more notes; --json shows all")
    for fault in result.faults:
        err.print(f"[bold red]fault:[/] {escape(fault)}")
