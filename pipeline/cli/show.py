"""Results as a person reads them."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from rich.markup import escape
from rich.table import Table

from pipeline.cli.console import minute, out, table
from pipeline.fallback_level import FallbackLevel
from pipeline.forecasting.verification.scores import LeadScore
from pipeline.jobs.forecast import ForecastResult
from pipeline.jobs.models import ModelsResult
from pipeline.jobs.promote import PromotionResult
from pipeline.jobs.retrain import RetrainResult
from pipeline.jobs.status import StatusResult
from pipeline.jobs.verify import VerifyResult
from pipeline.registry.record import Candidate
from pipeline.training.gate import Verdict

SHOWN_LEADS = 4
_COLOURS = {"fresh": "green", "late": "yellow", "broken": "red"}


def retrain(result: RetrainResult) -> None:
    """Print the gate's verdict with its numbers."""
    verdict = result.verdict
    if result.repeated:
        out.print(f"{result.product}: nothing new since version {result.version} was trained; its verdict stands")
    mark = "[green]promoted[/]" if verdict.promoted else "[yellow]refused[/]"
    out.print(f"{result.product}: {verdict.challenger}, version {result.version}, {mark}: {escape(verdict.reason)}")
    for line in result.warnings:
        out.print(f"  [yellow]warning[/] {escape(line)}")
    if result.candidates:
        out.print(candidates_table(result.candidates))
    out.print(verdict_table(verdict, "held-out CRPS"))
    out.print(
        f"on {verdict.issues} held-out issue times, {verdict.since:%Y-%m-%d} to {verdict.until:%Y-%m-%d}; "
        f"{verdict.nominal_coverage:.0%} interval covers {verdict.coverage:.1%}; "
        f"CRPS {verdict.outage_crps:.3f} with a quarter of the {verdict.places} silent"
    )
    out.print(f"champion: {f'version {result.champion}' if result.champion else 'none'}")


def candidates_table(candidates: Sequence[Candidate]) -> Table:
    """Return the candidates with their scores on validation, and what is to be known of each, as a table."""
    shown = table("candidate", ">validation CRPS", "remarks")
    for one in candidates:
        crps = f"{one.validation_crps:.3f}" if one.validation_crps is not None else "–"
        told = "; ".join(one.remarks) or (f"not trained: {one.problem}" if one.validation_crps is None else "")
        shown.add_row(one.name, crps, escape(told))
    return shown


def verdict_table(verdict: Verdict, heading: str) -> Table:
    """Return the challenger and its rivals, lead by lead, as a table."""
    leads = _few(len(verdict.crps_by_lead))
    shown = table(heading, ">mean", *(f">lead {lead}" for lead in leads), ">better by", ">p")
    ours = (f"{verdict.crps_by_lead[lead - 1]:.3f}" for lead in leads)
    shown.add_row(verdict.challenger, f"{verdict.crps:.3f}", *ours, style="bold green")
    for rival in verdict.rivals:
        theirs = (f"{rival.crps_by_lead[lead - 1]:.3f}" for lead in leads)
        shown.add_row(rival.rival, f"{rival.crps:.3f}", *theirs, f"{rival.skill:+.1%}", probability(rival.p_value))
    return shown


def _few(leads: int) -> list[int]:
    """Return the leads that fit a terminal: all of a few, else some from first to last, denser at the start."""
    if leads <= SHOWN_LEADS:
        return list(range(1, leads + 1))
    return sorted({round(leads ** (n / (SHOWN_LEADS - 1))) for n in range(SHOWN_LEADS)})


def probability(value: float) -> str:
    """Return a probability as text that is short and true."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def fallback_level(level: FallbackLevel) -> str:
    """Return such as "fallback level 3 (baseline)"."""
    return f"fallback level {level} ({level.label})"


def forecasts(results: Sequence[ForecastResult]) -> None:
    """Print one line a forecast, and where the last is."""
    for one in results:
        again = ", published before" if one.repeated else ""
        gaps = f", without {', '.join(one.missing)}" if one.missing else ""
        old = one.input_age_hours
        age = f"input {old:.0f} h old" if isfinite(old) else "no recent input"
        out.print(
            f"{one.product} {minute(one.issue_time)}: {fallback_level(one.fallback_level)}, {one.model}, "
            f"{age}{escape(gaps)}{again}"
        )
        for note in one.notes:
            out.print(f"  [yellow]note[/] {escape(note)}")
    out.print(f"published in {results[-1].folder}")


def verification(result: VerifyResult) -> None:
    """Print mean scores by lead."""
    out.print(
        f"{result.product}: {result.forecasts} forecasts due by {minute(result.at)}, {result.scored:,} values scored"
    )
    if result.scores:
        out.print(scores(result.scores))


def scores(rows: Sequence[LeadScore]) -> Table:
    """Return the scores as a table: a row per lead and model."""
    shown = table("variable", ">lead", "model", ">CRPS", ">MAE", ">RMSE", ">bias", ">coverage", ">n")
    for row in rows:
        cells = (f"{value:.3f}" for value in (row.crps, row.mae, row.rmse, row.bias))
        style = "bold" if row.model == "published" else None
        shown.add_row(
            row.variable, str(row.lead), row.model, *cells, f"{row.coverage:.0%}", str(row.count), style=style
        )
    return shown


def status(result: StatusResult) -> None:
    """Print how a product is."""
    colour = _COLOURS[result.state]
    out.print(f"[bold]{result.product}[/]  [{colour}]{result.state}[/]  {escape(result.reason)}")
    facts = {
        "now": minute(result.now),
        "observations": f"{result.observations:,} rows, newest {minute(result.newest)}",
        "quarantine": f"{result.refused:,} rows",
        "champion": f"version {result.champion}, {result.model}" if result.champion else "none",
        "last forecast": f"{minute(result.last_issue)}, {fallback_level(result.fallback_level)}"
        if result.fallback_level is not None
        else "none",
        "skill": ", ".join(f"{value:+.1%} on {name}" for name, value in result.skill.items()) or "not verified yet",
        "report": str(result.page or "none"),
        "home": str(result.home),
    }
    for name, value in facts.items():
        out.print(f"  {name:<14}{escape(value)}")


def models(result: ModelsResult) -> None:
    """Print registry versions and ledger."""
    if not result.versions:
        out.print(f"{result.product}: no version yet; run `nightcast retrain`")
        return
    shown = table(">version", "model", "aliases", ">CRPS", "trained until", "digest", "gate")
    for one in result.versions:
        crps = f"{one.crps:.3f}" if one.crps is not None else "–"
        aliases = ", ".join(one.aliases)
        verdict = one.verdict.partition(":")[0]  # its reasons stand in the ledger
        until = f"{one.trained_until:%Y-%m-%d}"
        shown.add_row(str(one.version), one.model, escape(aliases), crps, until, one.digest[:8], escape(verdict))
    out.print(shown)
    out.print("\n[bold]Ledger[/]")
    for row in result.ledger:
        before = f", before it {row.previous}" if row.previous is not None else ""
        out.print(f"{minute(row.at)}  {row.action:<8}  version {row.version}{before}, by {escape(row.who)}")
        out.print(f"  [dim]{escape(row.why)}[/]")


def promotion(result: PromotionResult) -> None:
    """Print a change of champion."""
    before = f"version {result.previous}" if result.previous else "none"
    out.print(f"{result.product}: champion is version {result.version}, before it {before}")
    out.print(f"  by {escape(result.who)}: {escape(result.why)}")
