"""Scores of a backtest."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from pipeline.cli.console import minute, out, table
from pipeline.cli.views.retrain import shown_leads
from pipeline.jobs.backtest import BacktestResult
from pipeline.training.backtest.results import BacktestScores, Skill
from pipeline.training.fit import CLIMATOLOGY


def show(result: BacktestResult) -> None:
    """Print what was done, and for each variable the models, best first."""
    part = f"part {result.part[0]}/{result.part[1]}, " if result.part != (1, 1) else ""
    out.print(
        f"{result.product}: {part}{result.pieces:,} pieces from {result.origins:,} origins, {minute(result.since)} to "
        f"{minute(result.until)}, {result.repeated:,} finished before"
    )
    scores = result.scores
    if scores is None:
        out.print(f"{result.missing:,} pieces of other parts are missing; the part that finishes last shows the scores")
        return
    for problem in scores.problems:
        out.print(f"  [yellow]note[/] {problem.model}, {problem.origins} origins: {escape(problem.text)}")
    for variable in dict.fromkeys(score.variable for score in scores.scores):
        out.print(scores_table(scores, variable))
        if any(one.variable == variable for one in scores.skill):
            out.print(skill_table(scores, variable))
    intervals = "too few issue times for confidence intervals"
    if any(one.low is not None for one in scores.skill):
        intervals = f"{scores.confidence:.0%} intervals by a bootstrap of blocks of {scores.block} issue times"
    out.print(f"on {scores.issues:,} issue times, forecasts that all models have; {intervals}")
    if result.folder:
        out.print(f"page: {result.folder / 'backtest.html'}")


def scores_table(scores: BacktestScores, variable: str) -> Table:
    """Return a table of the models, best first: scores over all leads, and CRPS by lead."""
    by_lead = {
        (one.model, int(one.group)): one.crps for one in scores.scores if one.by == "lead" and one.variable == variable
    }
    leads = shown_leads(max(lead for _, lead in by_lead))
    interval = f">in {scores.nominal_coverages[0]:.0%}" if scores.nominal_coverages else ">in"
    shown = table(variable, ">CRPS", *(f">lead {lead}" for lead in leads), ">MAE", ">RMSE", ">bias", interval)
    for row in scores.overall(variable):
        crps = (by_lead.get((row.model, lead)) for lead in leads)
        shown.add_row(
            row.model,
            f"{row.crps:.3f}",
            *("–" if value is None else f"{value:.3f}" for value in crps),
            f"{row.mae:.3f}",
            f"{row.rmse:.3f}",
            f"{row.bias:+.3f}",
            f"{row.coverage[0]:.1%}" if row.coverage else "–",
        )
    return shown


def skill_table(scores: BacktestScores, variable: str) -> Table:
    """Return a table of the skill of each model against the best baseline and climatology, with intervals."""
    references = list(dict.fromkeys((scores.best_baseline.get(variable, CLIMATOLOGY), CLIMATOLOGY)))
    shown = table("skill against", *(f">{name}" for name in references))
    for row in scores.overall(variable):
        found = (scores.skill_of(row.model, variable, name) for name in references)
        shown.add_row(row.model, *map(_describe, found))
    return shown


def _describe(found: Skill | None) -> str:
    if found is None:
        return "–"
    if found.low is None or found.high is None:
        return f"{found.skill:+.1%}"
    return f"{found.skill:+.1%} ({found.low:+.1%} to {found.high:+.1%})"
