"""The flow `verify`."""

from __future__ import annotations

from typing import Any

from prefect import State
from prefect.states import Completed

from flows import artifacts
from flows.artifacts import minute, table
from flows.retrain_request import request_retrain
from flows.running import current_time, make_flow
from pipeline.jobs.verify import VerifyResult
from pipeline.markdown import inert
from pipeline.times import stamp
from pipeline.workspace import Workspace


def describe(result: VerifyResult) -> tuple[str, str]:
    """Return Markdown of the scores by model, variable and lead, and one line about them."""
    rows = [
        (
            it.model,
            it.variable,
            str(it.lead),
            f"{it.count:,}",
            *(f"{value:.4g}" for value in (it.crps, it.mae, it.rmse, it.bias)),
            f"{it.coverage:.1%}",
        )
        for it in result.scores
    ]
    head = ("model", "variable", "lead", "values", "CRPS", "MAE", "RMSE", "bias", "coverage")
    line = f"{result.scored:,} values of {result.forecasts:,} forecasts, scored at {minute(result.at)}"
    parts = [f"{line}.", table(head, rows)]
    parts += [
        f"{inert(variable)}: CRPS skill of the serving models, fitted on all data, over their judged fits {skill:+.1%}"
        for variable, skill in result.refit_skill.items()
    ]
    if result.live.reason:
        parts.insert(1, f"**The {result.live.serving} serves:** {inert(result.live.reason)}.")
    return "\n\n".join(parts), line


def finish(ws: Workspace, result: VerifyResult) -> State[Any]:
    """Publish the scores, request the retrain that a live verdict asks for, and return the final state."""
    artifacts.publish(ws.product.name, "verification", *describe(result))
    message = f"{result.scored:,} values of {result.forecasts:,} forecasts scored"
    if result.live.retrain_requested:
        request_retrain(ws.product.name, key=f"live verdict {stamp(result.live.retrain_requested)}")
    if result.live.serving == "champion":
        return Completed(message=message)
    return Completed(name=f"Serving the {result.live.serving}", message=f"{result.live.reason}; {message}")


verify = make_flow("verify", finish, now=current_time)
