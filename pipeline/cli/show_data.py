"""Results about the data at rest as a person reads them."""

from __future__ import annotations

import typer
from rich.markup import escape

from pipeline.cli.console import err, minute, out, table
from pipeline.jobs.backfill import BackfillResult
from pipeline.jobs.ingest import FeedResult, IngestResult
from pipeline.jobs.maintain import MaintainResult
from pipeline.jobs.quarantine import QuarantineResult, RefusedRows
from pipeline.jobs.release import ReleaseResult

WORLD = 3
SHOWN = 5


def ingest(result: IngestResult) -> None:
    """Print what an ingest took in."""
    _feed(result.product, result)
    for name, one in result.covariates.items():
        _feed(f"{result.product}.{name}", one)


def backfill(result: BackfillResult) -> None:
    """Print what a backfill took in."""
    part = f"part {result.part[0]}/{result.part[1]}, " if result.part != (1, 1) else ""
    out.print(
        f"{result.product}: {part}{result.pieces:,} pieces of {minute(result.since)} to {minute(result.until)}, "
        f"{result.repeated:,} finished before"
    )
    _feed(result.product, result)


def end_with_faults(result: FeedResult) -> None:
    """End the command as an upstream failure if a payload could not be fetched or read; the others are stored."""
    if result.faults:
        raise typer.Exit(WORLD)


def quarantine(result: QuarantineResult) -> None:
    """Print what is in quarantine, by reason."""
    total = sum(group.rows for group in result.groups)
    out.print(
        f"{result.product}: {total:,} rows in quarantine; {result.released:,} released, {result.dropped:,} dropped"
    )
    if not result.groups:
        return
    shown = table(">rows", "reason", "valid times", "one of them")
    for group in result.groups:
        times = minute(group.first) if group.first == group.last else f"{minute(group.first)} to {minute(group.last)}"
        feed = f"[dim]{escape(group.feed)}[/] " if group.feed != result.product else ""
        shown.add_row(f"{group.rows:,}", f"{feed}{escape(group.reason)}", times, group.example)
    out.print(shown)


def refused_rows(result: RefusedRows) -> None:
    """Print rows in quarantine."""
    for row in result.rows:
        where = f"{minute(row.valid_time)}  {escape(row.location or '–')}"
        out.print(f"[bold]{row.id}[/]  {where}  {escape(row.values)}")
        out.print(f"  {escape(row.reason)}")
        out.print(f"  [dim]{escape(row.name or row.payload[:16])}, refused {minute(row.quarantined_at)}[/]")
    left = result.total - len(result.rows)
    if left:
        out.print(f"and {left:,} more; --limit shows more of them")
    if not result.total:
        out.print(f"{result.product}: no such row in quarantine")


def released(result: ReleaseResult) -> None:
    """Print what became of released or dropped rows."""
    what = f": {result.accepted:,} new, {result.revised:,} revised, {result.unchanged:,} known already"
    told = what if result.action == "released" else ""
    out.print(f"{result.product}: {result.action} {result.rows:,} rows{told}")
    out.print(f"  by {escape(result.who)}: {escape(result.why)}")


def maintenance(result: MaintainResult) -> None:
    """Print what maintenance found and did."""
    shown = table("table", ">version", ">files merged", ">files removed", "digests")
    for one in result.tables:
        state = f"[red]{len(one.damage)} do not match[/]" if one.damage else "[green]match[/]"
        shown.add_row(one.table, str(one.version), str(one.compacted), str(one.removed), state)
    out.print(shown)
    out.print(f"{result.payloads:,} raw payloads checked")
    for one in result.tables:
        for aside in one.repaired:
            out.print(f"[yellow]set aside[/]  {escape(aside)}")
    if result.taken_again:
        out.print(f"{result.taken_again:,} payloads taken in again")
    for line in result.damage:
        err.print(f"[bold red]damaged:[/] {escape(line)}")


def _feed(title: str, result: FeedResult) -> None:
    if not result.payloads and not result.faults:
        out.print(f"{title}: nothing new; newest value {minute(result.newest)}")
        return
    thinned = f"{result.thinned:,} thinned, " if result.thinned else ""
    out.print(
        f"{title}: {result.accepted:,} new rows, {result.revised:,} revised, {result.unchanged:,} unchanged, "
        f"{thinned}{result.refused:,} refused, from {result.payloads:,} payloads; newest value {minute(result.newest)}"
    )
    for reason, count in result.reasons.items():
        out.print(f"  [yellow]refused {count:,}[/]  {escape(reason)}")
    for warning in result.warnings[:SHOWN]:
        out.print(f"  [yellow]note[/]  {escape(warning)}")
    if len(result.warnings) > SHOWN:
        out.print(f"  and {len(result.warnings) - SHOWN:,} more notes; --json shows all")
    for fault in result.faults:
        err.print(f"[bold red]fault:[/] {escape(fault)}")
