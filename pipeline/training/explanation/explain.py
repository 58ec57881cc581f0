"""Explain a fitted model: which inputs its forecasts rest on, by withholding them on issue times that it has not seen.

The cost is bounded by the number of forecasts, not by the clock, so equal data give equal explanations.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from models.base import Model
from models.errors import ModelError, first_line
from models.task import Inputs
from pipeline.errors import NightcastError, NoDataError
from pipeline.features.snapshot import Snapshot
from pipeline.training.backtest.bootstrap import block_length
from pipeline.training.budget import Budget
from pipeline.training.decision import Decision
from pipeline.training.evaluate import check_task
from pipeline.training.explanation.facts import Attention, Explanation, GroupLoss, Weight, known
from pipeline.training.explanation.groups import InputGroup, input_groups, lag_title
from pipeline.training.explanation.losses import Losses, measure_losses
from pipeline.training.folds import Folds, most_scored, thin

log = logging.getLogger(__name__)

SCORINGS = 2
"""An explanation makes at most as many forecasts as it takes to score this many models on held-out issue times."""
MOST_ISSUES = 400
"""Most issue times; more would hardly change the result."""
FEWEST_ISSUES = 20
"""Fewest issue times that say anything."""
ATTENTION_ISSUES = 32
"""Issue times over which attention weights are averaged."""
SHOWN_WEIGHTS = 24
"""Locations whose attention weight is kept."""


@dataclass(frozen=True)
class Explained:
    """The explanation of the model that is to serve; None, and why, if there is none."""

    explanation: Explanation | None = None
    problem: str = ""


def explain_serving(
    snapshot: Snapshot, folds: Folds, decisions: Sequence[Decision], budget: Budget | None = None
) -> Explained:
    """Explain the model that is to serve after a retrain, if any. Whatever fails in it stops nothing.

    The judged fit is explained, since the held-out issue times are data that it has not seen.
    """
    decision = next((one for one in decisions if one.serves), None)
    if decision is None:
        return Explained()
    name = decision.fitted.name
    if budget is not None and SCORINGS * most_scored(snapshot) * decision.fitted.cost.issue > budget.after_refit(
        (), folds
    ):
        return Explained(
            problem=f"{name} is not explained: training.budget is spent; `nightcast explain` does it later"
        )
    try:
        issues = unseen_issues(folds, decision.judged.data_until)
        return Explained(explain(decision.judged.model, snapshot, issues))
    except Exception as error:  # memory, a device, a library: an explanation is not worth the night's model
        problem = first_line(error)
        expected = isinstance(error, (ModelError, NightcastError))
        log.warning("%s cannot be explained: %s", name, problem, exc_info=not expected)
        return Explained(problem=f"{name} cannot be explained: {problem}")


def unseen_issues(folds: Folds, data_until: datetime) -> tuple[datetime, ...]:
    """Return the matured issue times at which a fit had not seen any later data."""
    return tuple(issue for issue in folds.matured if issue >= data_until)


def most_issues(snapshot: Snapshot, groups: int) -> int:
    """Return the most issue times on which groups of inputs are withheld, at least `FEWEST_ISSUES`."""
    affordable = SCORINGS * most_scored(snapshot) // (groups + 1)
    return max(FEWEST_ISSUES, min(MOST_ISSUES, affordable))


def explain(model: Model, snapshot: Snapshot, issues: Sequence[datetime]) -> Explanation:
    """Return what the forecasts of a model rest on, measured on a sample of issue times.

    Args:
        model: A fitted model of the snapshot's task.
        snapshot: The data.
        issues: Matured issue times that the fit has not seen, ascending; of many, a sample is used, evenly
            spread.

    Raises:
        NoDataError: there are too few issue times.
        ModelError: the model cannot forecast them, or was made for another task.
    """
    task, product = snapshot.task, snapshot.product
    check_task(model, task)
    if len(issues) < FEWEST_ISSUES:
        raise NoDataError(
            f"{product.name}: {len(issues)} issue times that {model.name} has not seen, needed are {FEWEST_ISSUES}; "
            "wait until more forecasts can be verified"
        )
    groups = input_groups(task, product, snapshot.locations)
    chosen = thin(issues, most_issues(snapshot, len(groups)))
    windows = snapshot.windows(chosen, truth_at=snapshot.known_by)
    block = block_length([snapshot.cadence.lead_times(issue) for issue in chosen])
    losses = measure_losses(model, windows, groups, block=block)
    sample = windows.inputs(np.array([chosen.index(issue) for issue in thin(chosen, ATTENTION_ISSUES)]))
    return Explanation(
        model=model.name,
        issues=len(chosen),
        since=chosen[0],
        until=chosen[-1],
        forecasts=len(chosen) * (len(groups) + 1),
        variables=task.targets,
        crps=tuple(known(value) for value in losses.mean_crps()),
        groups=tuple(_describe(group, losses, index) for index, group in enumerate(groups)),
        attention=_attention(model, sample, snapshot),
    )


def _describe(group: InputGroup, losses: Losses, index: int) -> GroupLoss:
    _, leads, targets = losses.complete.shape
    loss, error = losses.relative(index)
    by_lead = [losses.relative(index, leads=slice(lead, lead + 1)) for lead in range(leads)]
    by_target = [losses.relative(index, targets=slice(target, target + 1)) for target in range(targets)]
    return GroupLoss(
        kind=group.kind,
        name=group.name,
        title=group.title,
        loss=known(loss),
        error=known(error),
        loss_by_lead=tuple(known(one) for one, _ in by_lead),
        error_by_lead=tuple(known(one) for _, one in by_lead),
        loss_by_variable=tuple(known(one) for one, _ in by_target),
    )


def _attention(model: Model, inputs: Inputs, snapshot: Snapshot) -> Attention | None:
    found = model.attention(inputs)
    if found is None:
        return None
    frames: tuple[Weight, ...] = ()
    locations: tuple[Weight, ...] = ()
    if found.frames is not None:
        newest_first = found.frames.mean(axis=0)[::-1]
        frames = tuple(_weight(lag_title(lag, lag, snapshot.product), one) for lag, one in enumerate(newest_first))
    if found.locations is not None:
        greatest = np.argsort(-found.locations, kind="stable")[:SHOWN_WEIGHTS]
        locations = tuple(_weight(snapshot.locations.names[index], found.locations[index]) for index in greatest)
    return Attention(frames=frames, locations=locations)


def _weight(title: str, weight: float) -> Weight:
    return Weight(title=title, weight=float(f"{weight:.4g}"))
