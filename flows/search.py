"""The flow `search`."""

from __future__ import annotations

from typing import Any

from prefect import State
from prefect.states import Completed

from flows import artifacts
from flows.artifacts import minute, table
from flows.running import make_flow
from pipeline.jobs.search import SearchResult
from pipeline.markdown import inert
from pipeline.training.search.results import TrialResult
from pipeline.workspace import Workspace


def describe(result: SearchResult) -> tuple[str, str]:
    """Return Markdown of the trials and the lines for the product file, and what was found in one line."""
    found = result.findings
    heading = f"{result.model}: {found.conclusion}."
    finished = sorted((one for one in found.trials if one.crps is not None), key=lambda one: one.crps or 0.0)
    shown = {one.number: one for one in (found.control, *([found.best] if found.best else []), *finished)}
    parts = [
        inert(heading),
        f"{len(found.trials):,} trials; {found.ending}. CRPS on {result.issues:,} issue times of "
        f"{result.folds} folds, {minute(result.since)} to {minute(result.until)}.",
        table(("trial", "CRPS", "better by", "seconds", "options"), [_row(one) for one in shown.values()]),
    ]
    if found.importance:
        rows = [(name, f"{share:.0%}") for name, share in found.importance.items()]
        parts.append(table(("option", "share of the differences"), rows))
    if found.snippet:
        parts += ["For the product file, to be judged by the gate:", "```yaml\n" + found.snippet + "```"]
    parts += [inert(line) for line in result.warnings]
    parts.append(f"The study is in {inert(str(result.study))}, and in MLflow run {inert(result.run_id or 'none')}.")
    return "\n\n".join(parts), inert(heading)


def finish(ws: Workspace, result: SearchResult) -> State[Any]:
    """Publish the trials and return the final state."""
    artifacts.publish(ws.product.name, f"search-{result.model}", *describe(result))
    return Completed(message=f"{result.model}: {result.findings.conclusion}")


def _row(trial: TrialResult) -> tuple[str, ...]:
    name = "present" if trial.control else str(trial.number)
    options = ", ".join(f"{option} {'auto' if value is None else value}" for option, value in trial.options.items())
    skill = "" if trial.skill is None or trial.control else f"{trial.skill:+.2%}"
    return name, "" if trial.crps is None else f"{trial.crps:.4g}", skill, f"{trial.seconds:.1f}", options


search = make_flow("search", finish)
