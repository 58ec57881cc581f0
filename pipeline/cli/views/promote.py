"""A change of champion by hand."""

from __future__ import annotations

from rich.markup import escape

from pipeline.cli.console import out
from pipeline.jobs.promote import PromotionResult


def show(result: PromotionResult) -> None:
    """Print the new and the previous champion, who changed it and why."""
    before = f"version {result.previous}" if result.previous else "none"
    out.print(f"{result.product}: champion is version {result.version}, before it {before}")
    out.print(f"  by {escape(result.who)}: {escape(result.why)}")
