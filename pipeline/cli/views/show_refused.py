"""Rows in quarantine."""

from __future__ import annotations

from rich.markup import escape

from pipeline.cli.console import minute, out
from pipeline.jobs.quarantine import RefusedRows


def show(result: RefusedRows) -> None:
    """Print three lines for each row: its values, the reason, and the payload it came in."""
    for row in result.rows:
        where = f"{minute(row.valid_time)}  {escape(row.location or '–')}"
        out.print(f"[bold]{row.id}[/]  {where}  {escape(row.values)}")
        out.print(f"  {escape(row.reason)}")
        out.print(f"  [dim]{escape(row.name or row.payload[:16])}, refused {minute(row.quarantined_at)}[/]")
    more = result.total - len(result.rows)
    if more:
        out.print(f"and {more:,} more; raise --limit to see them")
    if not result.total:
        out.print(f"{result.product}: no such row in quarantine")
