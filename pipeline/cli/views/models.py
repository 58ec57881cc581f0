"""The registered versions of a product, and its ledger."""

from __future__ import annotations

from rich.markup import escape

from pipeline.cli.console import minute, out, table
from pipeline.jobs.models import ModelsResult


def show(result: ModelsResult) -> None:
    """Print a row for each version, and two lines for each entry of the ledger."""
    if not result.versions:
        out.print(f"{result.product}: no version yet; run `nightcast retrain`")
        return
    shown = table(">version", "model", "aliases", ">CRPS", "trained until", "digest", "gate")
    for one in result.versions:
        crps = f"{one.crps:.3f}" if one.crps is not None else "–"
        aliases = ", ".join(one.aliases)
        until = f"{one.trained_until:%Y-%m-%d}"
        shown.add_row(str(one.version), one.model, escape(aliases), crps, until, one.digest[:8], one.verdict or "–")
    out.print(shown)
    out.print("\n[bold]Ledger[/]")
    for row in result.ledger:
        before = f", before it {row.previous}" if row.previous is not None else ""
        out.print(
            f"{minute(row.at)}  {row.action.replace('_', ' '):<8}  version {row.version}{before}, by {escape(row.who)}"
        )
        out.print(f"  [dim]{escape(row.why)}[/]")
