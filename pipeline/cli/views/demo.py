"""The summary of the demo: forecasts, champion, scores, refused rows, and commands to try next."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from pipeline.cli.console import out, table
from pipeline.cli.views.retrain import verdict_table
from pipeline.demo.run import Outcome
from pipeline.fallback_level import FallbackLevel
from pipeline.forecasting.verification.scores import LeadScore
from pipeline.training.metrics import nominal_coverage

_COLUMN = 11


def show(outcome: Outcome, folder: Path) -> None:
    """Print the summary; paths are shown as seen from `folder`."""
    out.print()
    out.rule(f"[bold]{escape(outcome.product.title)}[/]", align="left", style="dim")
    out.print()
    _forecasts(outcome)
    _champion(outcome)
    _verified(outcome)
    _refused(outcome)
    _next(outcome, folder)


def _print_row(heading: str, *lines: str) -> None:
    shown = Table.grid(padding=0)
    shown.add_column(width=_COLUMN)
    shown.add_column()
    for number, line in enumerate(lines):
        shown.add_row(f"[bold]{heading if number == 0 else ''}[/]", line)
    out.print(shown)


def _print_unwrapped(heading: str, *lines: str) -> None:
    """Print lines to be copied: they are never wrapped."""
    for number, line in enumerate(lines):
        out.print(f"[bold]{heading if number == 0 else '':<{_COLUMN}}[/]{line}")


def _forecasts(outcome: Outcome) -> None:
    issues = [day.forecast.issue_time for day in outcome.days]
    levels = [day.forecast.fallback_level for day in outcome.days]
    counts = [f"{levels.count(level)} by {level.label}" for level in FallbackLevel if level in levels]
    _print_row(
        "Forecasts", f"{len(issues)} published, {issues[0]:%d %b %Y} to {issues[-1]:%d %b %Y}", "; ".join(counts)
    )
    out.print()


def _champion(outcome: Outcome) -> None:
    serving = outcome.retrains[-1].champion
    promoted = [one for one in outcome.retrains if one.verdict.promoted]
    for refused in [verdict for one in outcome.retrains for verdict in one.verdicts if verdict.objections]:
        _print_row("Refused", f"{refused.challenger}: {escape(refused.reason)}")
    if not promoted:
        _print_row("Champion", f"version {serving}, promoted by hand" if serving else "none; a baseline is used")
        return
    verdict = promoted[-1].verdict
    _print_row(
        "Champion",
        f"[green]{verdict.challenger}[/], version {serving}: {escape(verdict.reason)}",
        f"evaluated on {verdict.issues} held-out issue times, {verdict.since:%b %Y} to {verdict.until:%b %Y}; "
        f"its {verdict.nominal_coverage:.0%} interval covers {verdict.coverage:.1%}",
    )
    out.print()
    out.print(verdict_table(verdict, "held-out CRPS"))
    out.print()


def _verified(outcome: Outcome) -> None:
    scores = outcome.days[-1].verify.scores
    by_model: dict[str, list[LeadScore]] = {}
    for score in scores:
        by_model.setdefault(score.model, []).append(score)
    if not by_model:
        _print_row("Verified", "nothing yet")
        return
    published = by_model.pop("published")
    count = sum(score.count for score in published)
    inside = sum(score.coverage * score.count for score in published) / count
    nominal = nominal_coverage(outcome.product.forecast.quantiles)
    _print_row(
        "Verified",
        f"{count:,} values are verified so far, {inside:.0%} of them inside the {nominal:.0%} interval",
        "[dim]two weeks are a small sample: rely on the held-out scores above[/]",
    )
    out.print()
    shown = table("live CRPS", *(f">lead {score.lead}" for score in published))
    shown.add_row("published", *(f"{score.crps:.3f}" for score in published), style="bold green")
    for model, rows in sorted(by_model.items()):
        shown.add_row(model, *(f"{score.crps:.3f}" for score in rows))
    out.print(shown)
    out.print()


def _refused(outcome: Outcome) -> None:
    total = sum(outcome.refused.values())
    reasons = [f"{count} × {escape(reason)}" for reason, count in outcome.refused.items()]
    _print_row("Quarantine", f"{total} rows refused and kept, by reason:", *reasons)
    out.print()


def _next(outcome: Outcome, folder: Path) -> None:
    home = os.environ.get("NIGHTCAST_HOME")
    program = "nightcast" if shutil.which("nightcast") else _relative_to(Path(sys.argv[0]).absolute(), folder)
    prefix = f"NIGHTCAST_HOME={home} {program}" if home else str(program)
    file = "deploy/products/ireland-wind.yaml"
    _print_unwrapped("Report", escape(str(_relative_to(outcome.page, folder))))
    out.print()
    _print_unwrapped(
        "Next",
        f"{prefix} status {file}",
        f"{prefix} models {file}",
        f"{prefix} up     [dim]Prefect UI, MLflow UI and report pages; Ctrl-C stops them[/]",
    )
    out.print()
    out.print(
        f"[dim]took {outcome.seconds:.0f} s; everything is in {escape(str(_relative_to(outcome.home, folder)))}[/]"
    )


def _relative_to(path: Path, folder: Path) -> Path:
    return path.relative_to(folder) if path.is_relative_to(folder) else path
