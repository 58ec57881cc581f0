"""The results of a search as typed values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from pipeline.times import Cadence
from pipeline.training.search.comparison import Comparison, compare
from pipeline.training.search.run import End
from pipeline.training.search.study import Status, Study, Trial

Value = float | int | bool | str | None


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class TrialResult(_Facts):
    """One trial."""

    number: int
    """In the study, which goes on from search to search."""
    status: Status
    control: bool
    """Whether it has the present options of the product."""
    options: dict[str, Value]
    """The searched options; null leaves the choice to the model."""
    crps: float | None
    """Mean CRPS over the scored issue times, of several variables relative to climatology; None unless finished."""
    skill: float | None
    """1 - CRPS / CRPS of the present options on the same issue times."""
    seconds: float
    problem: str = ""
    """Why it failed."""


class SearchFindings(_Facts):
    """What is known after a search, from all trials on the present data."""

    control: TrialResult
    best: TrialResult | None
    """The best other trial, even if it is worse than the control; None if none is finished."""
    comparison: Comparison | None
    """The best trial beside the control; None without one."""
    trials: tuple[TrialResult, ...]
    """The trials of this search, in order."""
    compared: int
    """Different options with scores on the present data, without the control."""
    earlier: int
    """Trials of earlier data, which only guided the choice of options."""
    ended_by: End
    """What ended the search: the number of trials, the budget, or that the space has no new options."""
    importance: dict[str, float]
    """Share of each option in the differences between trials; empty if there are too few."""
    snippet: str
    """YAML of the best options for the product file; empty unless they are shown to be better than the present ones."""

    @property
    def ending(self) -> str:
        """Why no more trials were made."""
        return {
            "trials": "all trials were used",
            "budget": "the time was used up",
            "space": "no untried options are left",
        }[self.ended_by]

    @property
    def conclusion(self) -> str:
        """Whether the best options are better than the present ones, in one sentence."""
        comparison = self.comparison
        if comparison is None:
            return "no other options were scored to the end"
        if comparison.skill <= 0:
            return f"none of {self.compared} other sets of options was better than the present ones"
        best = "the only other set" if self.compared == 1 else f"the best of {self.compared} other sets"
        gain = f"{best} of options is better by {comparison.skill:.2%}"
        if comparison.standard_error is None or comparison.p_value is None:
            return f"{gain}, on too few issue times to tell that from chance"
        p_value = "< 0.001" if comparison.p_value < 0.001 else f"= {comparison.p_value:.3f}"
        gain += f" (standard error {comparison.standard_error:.2%}, p {p_value})"
        if not comparison.distinguishable:
            return f"{gain}: not distinguishable from the present options"
        if self.compared == 1:
            return gain
        return f"{gain}; it was chosen as the best of several, so the gate will probably show a smaller gain"


def summarise(
    study: Study,
    numbers: Sequence[int],
    ended_by: End,
    data: str,
    issues: Sequence[datetime],
    cadence: Cadence,
    *,
    model: str,
    given: Mapping[str, Any],
    seed: int,
) -> SearchFindings:
    """Return the findings of a search.

    Args:
        study: All trials; the control on this data is finished.
        numbers: The trials of this search.
        ended_by: What ended it.
        data: Digest of the data and the folds.
        issues: The scored issue times.
        cadence: That of the product.
        model: The model.
        given: Its options in the product file.
        seed: Seed of the bootstrap.
    """
    trials = study.trials()
    here = [one for one in trials if one.data == data]
    finished = [one for one in here if one.status == "finished"]
    control = next(one for one in finished if one.control)
    others = [one for one in finished if one is not control]
    best, comparison = compare(control, others, issues, cadence, seed=seed) if others else (None, None)
    better = comparison is not None and comparison.distinguishable
    return SearchFindings(
        control=_result(control),
        best=_result(best) if best else None,
        comparison=comparison,
        trials=tuple(_result(one) for one in here if one.number in set(numbers)),
        compared=len(others),
        earlier=len(trials) - len(here),
        ended_by=ended_by,
        importance=study.importance(),
        snippet=snippet(model, {**given, **best.options}) if best and better else "",
    )


def snippet(model: str, options: Mapping[str, Any]) -> str:
    """Return YAML that a product file takes as it is."""
    document = {"training": {"options": {model: dict(options)}}}
    return yaml.safe_dump(document, sort_keys=False, default_flow_style=False)


def _result(trial: Trial) -> TrialResult:
    crps = None
    if trial.scores:
        by_issue = trial.by_issue
        crps = float(by_issue[by_issue == by_issue].mean())
    return TrialResult(
        number=trial.number,
        status=trial.status,
        control=trial.control,
        options=dict(trial.options),
        crps=crps,
        skill=None if trial.ratio is None else 1 - trial.ratio,
        seconds=trial.seconds,
        problem=trial.problem,
    )
