"""What a search found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from pipeline.cli.console import minute, out, table
from pipeline.jobs.search import SearchResult
from pipeline.training.search.results import SearchFindings, TrialResult

SHOWN = 10
"""Most trials in the table."""


def show(result: SearchResult) -> None:
    """Print the best trials, the comparison with the present options, and the lines for the product file."""
    found = result.findings
    counts = {status: sum(one.status == status for one in found.trials) for status in ("finished", "pruned", "failed")}
    out.print(
        f"{result.product}: {len(found.trials)} trials of {result.model}; {found.ending}: "
        f"{counts['finished']} finished, {counts['pruned']} stopped early, {counts['failed']} failed"
    )
    for line in result.warnings:
        out.print(f"  [yellow]warning[/] {escape(line)}")
    for problem in dict.fromkeys(one.problem for one in found.trials if one.problem):
        out.print(f"  [yellow]failed[/] {escape(problem)}")
    out.print(trials_table(found))
    out.print(
        f"CRPS on {result.issues} issue times of {result.folds} folds, {minute(result.since)} to "
        f"{minute(result.until)}, all before the held-out period of the gate"
    )
    if found.importance:
        out.print("importance: " + ", ".join(f"{name} {share:.0%}" for name, share in found.importance.items()))
    out.print(found.conclusion)
    if found.snippet:
        out.print("\nfor the product file, to be judged by the gate:\n")
        out.print(found.snippet, markup=False, highlight=False)


def trials_table(found: SearchFindings) -> Table:
    """Return a table of the present options, the best, and the finished trials of this search, best first."""
    shown = table("trial", ">CRPS", ">better by", ">seconds", "options")
    finished = [one for one in found.trials if one.crps is not None and not one.control]
    best = [found.best] if found.best else []
    ranked = {one.number: one for one in (*best, *sorted(finished, key=lambda one: one.crps or 0.0))}
    for one in (found.control, *list(ranked.values())[:SHOWN]):
        name = "present" if one.control else str(one.number)
        style = "bold green" if found.best and one.number == found.best.number and found.snippet else ""
        shown.add_row(name, _number(one), _skill(one), f"{one.seconds:.1f}", escape(_options(one.options)), style=style)
    return shown


def _number(trial: TrialResult) -> str:
    return "–" if trial.crps is None else f"{trial.crps:.4f}"


def _skill(trial: TrialResult) -> str:
    return "–" if trial.skill is None or trial.control else f"{trial.skill:+.2%}"


def _options(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {'auto' if value is None else value}" for name, value in options.items())
