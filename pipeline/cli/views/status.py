"""The state of a product."""

from __future__ import annotations

from rich.markup import escape

from pipeline.cli.console import minute, out
from pipeline.jobs.status import StatusResult

_COLOURS = {"fresh": "green", "late": "yellow", "broken": "red"}


def show(result: StatusResult) -> None:
    """Print the state, the reason and the facts behind it."""
    colour = _COLOURS[result.state]
    out.print(f"[bold]{result.product}[/]  [{colour}]{result.state}[/]  {escape(result.reason)}")
    level = result.fallback_level
    without_skill = "none: no baseline forecast the same values" if result.scored else "not verified yet"
    facts = {
        "now": minute(result.now),
        "observations": f"{result.observations:,} rows, newest {result.newest_period or minute(result.newest)}",
        "quarantine": f"{result.refused:,} rows",
        "champion": f"version {result.champion}, {result.model}" if result.champion else "none",
        "last forecast": f"{minute(result.last_issue)}, {level.title}" if level is not None else "none",
        "skill": ", ".join(f"{value:+.1%} on {name}" for name, value in result.skill.items()) or without_skill,
        "report": str(result.page or "none"),
        "home": str(result.home),
    }
    if result.live.reason:
        facts["live verdict"] = result.live.reason
    for name, value in facts.items():
        out.print(f"  {name:<14}{escape(value)}")
