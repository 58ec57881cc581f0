"""What became of released or dropped rows."""

from __future__ import annotations

from rich.markup import escape

from pipeline.cli.console import out
from pipeline.jobs.release import ReleaseResult


def show(result: ReleaseResult) -> None:
    """Print the counts, who decided and why."""
    counts = f": {result.added:,} new, {result.revised:,} revised, {result.unchanged:,} known already"
    out.print(f"{result.product}: {result.action} {result.rows:,} rows{counts if result.action == 'released' else ''}")
    out.print(f"  by {escape(result.who)}: {escape(result.why)}")
