"""The flow `backtest`."""

from __future__ import annotations

from typing import Any

from prefect import State
from prefect.states import Completed

from flows import artifacts
from flows.artifacts import minute, table
from flows.running import make_flow
from pipeline.jobs.backtest import BacktestResult
from pipeline.markdown import inert
from pipeline.training.backtest.results import BacktestScores
from pipeline.training.fit import CLIMATOLOGY
from pipeline.workspace import Workspace


def describe(result: BacktestResult) -> tuple[str, str]:
    """Return Markdown of the scores of each variable, and one line about them."""
    span = f"{minute(result.since)} to {minute(result.until)}"
    if result.scores is None:
        return f"{span}: {_progress(result)}", _progress(result)
    scores = result.scores
    parts = [f"{span}, {result.origins:,} origins, {scores.issues:,} issue times."]
    for variable in dict.fromkeys(one.variable for one in scores.scores):
        parts += [f"### {inert(variable)}", _table(scores, variable)]
    parts += [f"{inert(one.model)}, {one.origins:,} origins: {inert(one.text)}" for one in scores.problems]
    parts.append(f"The page is in {inert(str(result.folder))}, and in MLflow run {inert(result.run_id or 'none')}.")
    return "\n\n".join(parts), _best(scores)


def finish(ws: Workspace, result: BacktestResult) -> State[Any]:
    """Publish the scores and return the final state."""
    artifacts.publish(ws.product.name, "backtest", *describe(result))
    return Completed(message=_best(result.scores) if result.scores else _progress(result))


def _progress(result: BacktestResult) -> str:
    part = f"part {result.part[0]} of {result.part[1]}"
    return f"{result.pieces:,} pieces of {part} are finished, {result.missing:,} pieces of other parts are missing"


def _best(scores: BacktestScores) -> str:
    variables = dict.fromkeys(one.variable for one in scores.scores)
    best = ((variable, scores.overall(variable)[0]) for variable in variables)
    return "; ".join(f"{variable}: {one.model} has the lowest CRPS, {one.crps:.4g}" for variable, one in best)


def _table(scores: BacktestScores, variable: str) -> str:
    references = list(dict.fromkeys((scores.best_baseline.get(variable, CLIMATOLOGY), CLIMATOLOGY)))
    rows = []
    for one in scores.overall(variable):
        found = [scores.skill_of(one.model, variable, name) for name in references]
        skill = [f"{it.skill:+.1%}" if it else "" for it in found]
        rows.append((one.model, *(f"{value:.4g}" for value in (one.crps, one.mae, one.rmse, one.bias)), *skill))
    head = ("model", "CRPS", "MAE", "RMSE", "bias", *(f"skill against {inert(name)}" for name in references))
    return table(head, rows)


backtest = make_flow("backtest", finish)
