"""The flow `retrain`."""

from __future__ import annotations

from typing import Any

from prefect import State
from prefect.states import Completed

from flows import artifacts
from flows.artifacts import minute, table
from flows.running import current_time, make_flow
from pipeline.jobs.retrain import RetrainResult
from pipeline.markdown import inert
from pipeline.workspace import Workspace


def describe(result: RetrainResult) -> tuple[str, str]:
    """Return Markdown of the verdict and the numbers behind it, and the reason in one line."""
    verdict = result.verdict
    rivals = [
        (
            it.rival,
            f"{it.crps:.4g}",
            f"{it.skill:+.1%}",
            *((f"{it.p_value:.3g}", "yes" if it.beaten else "no") if verdict.is_tested(it) else ("–", "not tested")),
        )
        for it in verdict.rivals
    ]
    leads = range(1, len(verdict.crps_by_lead) + 1)
    by_lead = [
        ("**challenger**", verdict.crps_by_lead),
        *((inert(it.rival), it.crps_by_lead) for it in verdict.rivals),
    ]
    heading = "Promoted" if verdict.promoted else "Champion refreshed" if result.refreshed else "Champion kept"
    outage = ""
    if verdict.has_outage:
        outage = f"; with some {verdict.places} missing {verdict.outage_crps:.4g}"
    cases = f", about {verdict.cases:,} of them independent" if verdict.cases else ""
    parts = [
        f"## {heading}\n\n{inert(_reason(result))}",
        f"{'Challenger' if verdict.kind == 'promotion' else 'Champion'}: {inert(verdict.challenger)}, "
        f"version {result.version}. {verdict.issues:,} held-out issue times{cases}, from {minute(verdict.since)} to "
        f"{minute(verdict.until)}. CRPS {verdict.crps:.4g}{outage}. "
        f"The widest interval covers {verdict.coverage:.1%}, nominally {verdict.nominal_coverage:.1%}.",
        table(("rival", "CRPS", "skill of the challenger", "p", "shown better"), rivals),
        "### CRPS by lead",
        table(
            ("model", *map(str, leads)),
            [(name, *(f"{it:.4g}" for it in row)) for name, row in by_lead],
            markdown_columns=1,
        ),
        f"Version in service: {result.champion or 'none'}. Snapshot {inert(result.snapshot[:16])}, "
        f"checkpoint {inert(result.digest[:16])}, MLflow run {inert(result.run_id)}.",
    ]
    return "\n\n".join(parts), inert(_reason(result))


def _reason(result: RetrainResult) -> str:
    return "; ".join(verdict.reason for verdict in result.verdicts)


def finish(ws: Workspace, result: RetrainResult) -> State[Any]:
    """Publish the verdict and return the final state; a challenger that the gate refuses is not a failure."""
    artifacts.publish(ws.product.name, "gate", *describe(result))
    reason = _reason(result)
    if result.repeated:
        return Completed(message=f"No new data since version {result.version} was trained. {reason}")
    if result.verdict.promoted:
        return Completed(message=f"Version {result.version} is champion. {reason}")
    if result.refreshed:
        return Completed(name="Champion refreshed", message=f"Version {result.champion} serves. {reason}")
    return Completed(name="Champion kept", message=reason)


retrain = make_flow("retrain", finish, now=current_time)
