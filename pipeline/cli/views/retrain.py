"""The verdict of the gate, with its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from pipeline.cli.console import out, table
from pipeline.jobs.retrain import RetrainResult
from pipeline.registry.record import Candidate
from pipeline.training.verdict import Verdict

SHOWN_LEADS = 4


def show(result: RetrainResult) -> None:
    """Print the verdict, the candidates, and the challenger beside its rivals."""
    verdict = result.verdict
    if result.repeated:
        out.print(f"{result.product}: no new data since version {result.version} was trained; its verdict still holds")
    for version, one in zip((result.version, result.champion), result.verdicts, strict=False):
        number = f", version {version}," if version else ""
        out.print(f"{result.product}: {one.challenger}{number} {describe_decision(one)}: {escape(one.reason)}")
    for line in result.warnings:
        out.print(f"  [yellow]warning[/] {escape(line)}")
    if result.candidates:
        out.print(candidates_table(result.candidates))
    out.print(verdict_table(verdict, "held-out CRPS"))
    outage = ""
    if verdict.has_outage:
        outage = f"; CRPS {verdict.outage_crps:.3f} with some {verdict.places} missing"
    cases = f", about {verdict.cases} of them independent" if verdict.cases else ""
    out.print(
        f"on {verdict.issues} held-out issue times{cases}, {verdict.since:%Y-%m-%d} to {verdict.until:%Y-%m-%d}; "
        f"{describe_coverage(verdict)}{outage}"
    )
    out.print(f"champion: {f'version {result.champion}' if result.champion else 'none'}")


def describe_coverage(verdict: Verdict) -> str:
    """Return how often the intervals of the challenger covered the observations."""
    if not verdict.intervals:
        return f"{verdict.nominal_coverage:.0%} interval covers {verdict.coverage:.1%}"
    covered = ", ".join(f"{one.nominal:.0%} in {one.coverage:.1%}" for one in reversed(verdict.intervals))
    return f"intervals covered: {covered}"


def describe_decision(verdict: Verdict) -> str:
    """Return the decision as coloured words."""
    colour = "yellow" if verdict.objections else "green"
    word = "not refreshed" if verdict.objections and verdict.kind == "refresh" else verdict.decision
    return f"[{colour}]{word}[/]"


def candidates_table(candidates: Sequence[Candidate]) -> Table:
    """Return a table of the candidates: score on the validation period, and remarks."""
    shown = table("candidate", ">validation CRPS", "remarks")
    for one in candidates:
        failed = one.validation_crps is None
        crps = "–" if one.validation_crps is None else f"{one.validation_crps:.3f}"
        remarks = "; ".join(one.remarks) or (f"not trained: {one.problem}" if failed else "")
        shown.add_row(one.name, crps, escape(remarks))
    return shown


def verdict_table(verdict: Verdict, heading: str) -> Table:
    """Return a table of the challenger and its rivals, by lead."""
    leads = shown_leads(len(verdict.crps_by_lead))
    shown = table(heading, ">mean", *(f">lead {lead}" for lead in leads), ">better by", ">p")
    own = (f"{verdict.crps_by_lead[lead - 1]:.3f}" for lead in leads)
    shown.add_row(verdict.challenger, f"{verdict.crps:.3f}", *own, style="bold green")
    for rival in verdict.rivals:
        by_lead = (f"{rival.crps_by_lead[lead - 1]:.3f}" for lead in leads)
        p_value = probability(rival.p_value) if verdict.is_tested(rival) else "–"
        shown.add_row(rival.rival, f"{rival.crps:.3f}", *by_lead, f"{rival.skill:+.1%}", p_value)
    return shown


def shown_leads(leads: int) -> list[int]:
    """Return the leads that fit a terminal: all if there are few, else some, denser at the start."""
    if leads <= SHOWN_LEADS:
        return list(range(1, leads + 1))
    return sorted({round(leads ** (n / (SHOWN_LEADS - 1))) for n in range(SHOWN_LEADS)})


def probability(value: float) -> str:
    """Return a probability with three decimals; a smaller one is not shown as zero."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
