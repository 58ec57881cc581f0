"""The rows in quarantine, counted by reason."""

from __future__ import annotations

from rich.markup import escape

from pipeline.cli.console import minute, out, table
from pipeline.jobs.quarantine import QuarantineResult


def show(result: QuarantineResult) -> None:
    """Print a row for each reason."""
    total = sum(group.rows for group in result.groups)
    out.print(
        f"{result.product}: {total:,} rows in quarantine; {result.released:,} released, {result.dropped:,} dropped"
    )
    if not result.groups:
        return
    shown = table(">rows", "reason", "valid times", "example")
    for group in result.groups:
        times = minute(group.first) if group.first == group.last else f"{minute(group.first)} to {minute(group.last)}"
        feed = f"[dim]{escape(group.feed)}[/] " if group.feed != result.product else ""
        shown.add_row(f"{group.rows:,}", f"{feed}{escape(group.reason)}", times, group.example)
    out.print(shown)
