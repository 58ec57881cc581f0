"""What maintenance found and did."""

from __future__ import annotations

from rich.markup import escape

from pipeline.cli.console import err, out, table
from pipeline.jobs.maintain import MaintainResult


def show(result: MaintainResult) -> None:
    """Print every table; damage goes to stderr."""
    shown = table("table", ">version", ">files merged", ">files removed", "digests")
    for one in result.tables:
        state = f"[red]{len(one.damage)} do not match[/]" if one.damage else "[green]match[/]"
        shown.add_row(one.table, str(one.version), str(one.compacted), str(one.removed), state)
    out.print(shown)
    out.print(f"{result.payloads:,} raw payloads verified")
    for one in result.tables:
        for repaired in one.repaired:
            out.print(f"[yellow]set aside[/]  {escape(repaired)}")
    if result.reingested:
        out.print(f"{result.reingested:,} payloads ingested again")
    for line in result.damage:
        err.print(f"[bold red]damaged:[/] {escape(line)}")
