"""What a backfill stored."""

from __future__ import annotations

from pipeline.cli.console import minute, out
from pipeline.cli.views.ingest import show_feed
from pipeline.jobs.backfill import BackfillResult


def show(result: BackfillResult) -> None:
    """Print the range and the counts."""
    part = f"part {result.part[0]}/{result.part[1]}, " if result.part != (1, 1) else ""
    out.print(
        f"{result.product}: {part}{result.pieces:,} pieces from {minute(result.since)} to {minute(result.until)}, "
        f"{result.repeated:,} finished before"
    )
    show_feed(result.product, result)
