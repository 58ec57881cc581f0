"""The flow `explain`."""

from __future__ import annotations

from typing import Any

from prefect import State
from prefect.states import Completed

from flows import artifacts
from flows.artifacts import table
from flows.running import make_flow
from pipeline.jobs.explain import ExplainResult
from pipeline.markdown import inert
from pipeline.workspace import Workspace


def describe(result: ExplainResult) -> tuple[str, str]:
    """Return Markdown of the losses without each group of inputs, and one line about them."""
    explanation = result.explanation
    line = f"{explanation.model}, version {result.version}, on {explanation.issues:,} issue times"
    rows = [(one.title, _percent(one.loss), _percent(one.error)) for one in explanation.groups]
    parts = [
        f"What {inert(line)} rests on: the rise of the mean CRPS when a group of inputs is withheld.",
        table(("without", "rise of the CRPS", "standard error"), rows),
    ]
    return "\n\n".join(parts), inert(line)


def finish(ws: Workspace, result: ExplainResult) -> State[Any]:
    """Publish the losses and return the final state."""
    artifacts.publish(ws.product.name, "explanation", *describe(result))
    made = "computed" if result.computed else "read"
    return Completed(message=f"The explanation of version {result.version} was {made}")


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:+.2%}"


explain = make_flow("explain", finish)
