"""The gate's verdict as data: objections with a kind and numbers. `describe_verdict` makes the sentence."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from math import isfinite
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, computed_field, model_validator

from pipeline.training.batch_test import FEWEST_GROUPS, SHORTEST

Places = Literal["stations", "cells"]

FEW_CASES = 30
"""Forecasts without a common valid time below which a comparison stands on few."""
FEWEST_CASES = SHORTEST * FEWEST_GROUPS
"""Forecasts without a common valid time that the gate's test needs, about."""

DecisionKind = Literal["promotion", "refresh"]
Decision = Literal["promoted", "refreshed", "refused"]

ObjectionKind = Literal[
    "no_rivals",
    "score_missing",
    "not_shown_better",
    "not_tested",
    "worse_at_leads",
    "too_few_scores",
    "coverage",
    "outage_scores_missing",
    "outage_not_better",
    "worse_than_before",
    "not_compared",
    "older_data",
    "refit_failed",
    "refit_unfinished",
    "refit_differs",
    "refit_worse",
    "recorded",
]


class Objection(BaseModel):
    """One reason not to promote a challenger, or not to refresh the champion."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: ObjectionKind
    rival: str = ""
    """Name of the rival: of not_shown_better, not_tested, worse_at_leads, too_few_scores, worse_than_before and
    not_compared."""
    leads: tuple[int, ...] = ()
    """Leads in steps, from 1: of score_missing, worse_at_leads and too_few_scores."""
    skill: float | None = None
    """CRPS skill: of not_shown_better, not_tested and worse_than_before over the rival, of refit_worse over the judged
    fit."""
    p_value: float | None = None
    """p-value: of not_shown_better."""
    coverage: float | None = None
    """Observed coverage of the widest interval: of coverage."""
    nominal_coverage: float | None = None
    """Its nominal coverage: of coverage."""
    difference: float | None = None
    """Mean difference of the medians in units of the mean CRPS of the judged fit: of refit_differs."""
    completed: float | None = None
    """Fraction of the planned training that the time allowed: of refit_unfinished."""
    text: str = ""
    """The error: of refit_failed and not_compared; the sentence of a verdict that an earlier release recorded: of
    recorded."""


class Rival(BaseModel):
    """The scores of one rival, and how the challenger compares on the same held-out forecasts."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rival: str
    """Name of the model, with its version if it is the champion."""
    crps: float
    """Mean CRPS in units of the target; of several targets, relative to climatology."""
    crps_by_lead: tuple[float, ...]
    skill: float
    """1 - CRPS of the challenger / CRPS of the rival."""
    p_value: float
    """Anytime-valid p-value of the hypothesis that the challenger is not better, over all nights that compared the two
    recipes, adjusted for the number of challengers; of an earlier release, a Diebold-Mariano p-value."""
    too_few: bool = False
    """Whether there were too few forecasts for a test; the p-value is 1."""
    beaten: bool


class Interval(BaseModel):
    """How often the held-out observations lay inside a central interval of the challenger."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    nominal: float
    """Nominal probability."""
    coverage: float
    """Fraction of observations inside."""
    by_lead: tuple[float, ...]


class Verdict(BaseModel):
    """What the gate decided, with the numbers behind it. Without objections a challenger is promoted."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: DecisionKind = "promotion"
    """Whether a challenger asked for promotion, or a new fit of the champion's recipe to take its place."""
    objections: tuple[Objection, ...]
    first_champion: bool = False
    """Whether there was no champion to compare with."""
    challenger: str
    issues: int
    """Number of held-out issue times scored."""
    cases: int | None = None
    """Held-out forecasts without a common valid time, about; None where an earlier release decided."""
    since: datetime
    until: datetime
    crps: float
    """Mean CRPS of the challenger in units of the target; of several targets, relative to climatology."""
    crps_by_lead: tuple[float, ...]
    coverage: float
    """Fraction of observations inside the widest interval."""
    nominal_coverage: float
    intervals: tuple[Interval, ...] = ()
    """Every central interval whose two levels are published, the widest first; of an earlier release, none."""
    outage_crps: float
    """CRPS with the input of a quarter of the locations withheld, but never of all: a single one has its input."""
    rivals: tuple[Rival, ...]
    places: Places = "stations"
    """What the locations are."""
    is_baseline: bool = False
    """Whether the best baseline challenged, because no candidate was shown to be better."""
    untested: bool = False
    """Whether it is the best baseline, which serves without a test because there was no champion."""
    best_candidate: str = ""
    """Of an untested one: the best candidate, which was refused; empty if none could be trained."""
    refused: tuple[Objection, ...] = ()
    """Of an untested one: the objections to the best candidate."""
    uncompared: str = ""
    """Of a refresh: why it was not compared with the fit before it; empty if it was."""
    refit: tuple[Objection, ...] = ()
    """Why a promoted challenger serves as it was judged, and not as fitted on all data."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def promoted(self) -> bool:
        """Whether the challenger becomes champion."""
        return self.decision == "promoted"

    @computed_field  # type: ignore[prop-decorator]
    @property
    def decision(self) -> Decision:
        """What follows."""
        if self.objections:
            return "refused"
        return "promoted" if self.kind == "promotion" else "refreshed"

    @computed_field  # type: ignore[prop-decorator]
    @property
    def reason(self) -> str:
        """The verdict in one sentence."""
        return describe_verdict(self)

    @property
    def has_outage(self) -> bool:
        """Whether there is an `outage_crps` for which the input of any location was withheld."""
        return self.kind == "promotion" and isfinite(self.outage_crps) and self.outage_crps != self.crps

    def is_tested(self, rival: Rival) -> bool:
        """Return whether the p-value of a rival means something: a refresh is not tested, nor are too few forecasts."""
        return self.kind == "promotion" and not rival.too_few

    @model_validator(mode="before")
    @classmethod
    def _upgrade(cls, values: Any) -> Any:
        """Drop what is derived; a verdict of an earlier release has its objections as a sentence only."""
        if not isinstance(values, dict):
            return values
        fields = dict(values)
        promoted, reason = fields.pop("promoted", None), fields.pop("reason", "")
        fields.pop("decision", None)
        if "objections" not in fields and promoted is not None:
            fields["objections"] = () if promoted else ({"kind": "recorded", "text": reason},)
            fields["first_champion"] = reason.startswith("first champion")
        return fields


def describe_verdict(verdict: Verdict) -> str:
    """Return the reason of a verdict in one sentence."""
    if verdict.objections:
        return _describe_objections(verdict, verdict.objections)
    if verdict.kind == "refresh":
        if verdict.uncompared:
            former = ", ".join(rival.rival for rival in verdict.rivals)
            return f"fitted on the newest data; not compared with the fit before it, {former}: {verdict.uncompared}"
        skill = next((rival.skill for rival in verdict.rivals if isfinite(rival.skill)), None)
        held_out = "" if skill is None else f", skill {skill:+.1%} over the fit before it on held-out forecasts"
        return f"fitted on the newest data{held_out}"
    serving = ""
    if verdict.refit:
        serving = f"; the judged fit serves: {_describe_objections(verdict, verdict.refit)}"
    if verdict.untested:
        refused = _describe_objections(verdict, verdict.refused)
        match verdict.best_candidate:
            case "":
                why = "no candidate could be trained"
            case verdict.challenger:
                why = f"the gate would not promote it over a champion: {refused}"
            case name:
                why = f"the best candidate, {name}, was refused: {refused}"
        return f"first champion, the baseline with the lowest CRPS on held-out forecasts{serving}; {why}"
    best = min(verdict.rivals, key=lambda rival: rival.crps)
    group = "the best baseline" if verdict.is_baseline else "best of all"
    praise = f"{group}, {best.skill:.1%} better in CRPS than {best.rival}{serving}{_describe_few(verdict)}"
    return f"first champion, {praise}" if verdict.first_champion else praise


def _describe_objections(verdict: Verdict, objections: Sequence[Objection]) -> str:
    """Return objections as clauses; one clause for all rivals where there are too few forecasts for a test."""
    clauses = [describe_objection(one, verdict.places) for one in objections if one.kind != "not_tested"]
    if len(clauses) == len(objections):
        few = _describe_few(verdict) if any(one.kind == "not_shown_better" for one in objections) else ""
        return "; ".join(clauses) + few
    cases = verdict.cases or 0
    needed = max(FEWEST_CASES, cases + 1)
    return "; ".join((f"about {cases} independent forecasts are too few for a test, which needs {needed}", *clauses))


def _describe_few(verdict: Verdict) -> str:
    """Return a clause on the number of independent cases, if they are few."""
    if verdict.cases is None or verdict.cases >= FEW_CASES:
        return ""
    return f"; about {verdict.cases} independent forecasts are few, so only large differences show"


def describe_objection(objection: Objection, places: Places = "stations") -> str:
    """Return an objection as a clause, with what to do where something can be done."""
    rival = objection.rival
    leads = f"lead{'s' if len(objection.leads) > 1 else ''} {', '.join(map(str, objection.leads))}"
    skill, p_value, coverage, nominal = (
        float("nan") if number is None else number
        for number in (objection.skill, objection.p_value, objection.coverage, objection.nominal_coverage)
    )
    match objection.kind:
        case "no_rivals":
            return "no rival to compare with"
        case "score_missing":
            return f"the challenger has no score at {leads}"
        case "not_shown_better":
            return f"not shown to be better than {rival} (skill {skill:+.1%}, p {p_value:.2f})"
        case "not_tested":
            return f"not tested against {rival} (skill {skill:+.1%})"
        case "worse_at_leads":
            return f"worse than {rival} at {leads}"
        case "too_few_scores":
            return f"too few scores in common with {rival} at {leads}"
        case "coverage":
            return (
                f"the {nominal:.0%} interval covers {coverage:.0%} of the observations "
                "(gate.coverage_tolerance allows a larger difference)"
            )
        case "outage_scores_missing":
            return f"some forecasts have no score while some {places} are missing"
        case "outage_not_better":
            return f"not better than climatology while some {places} are missing"
        case "older_data":
            return "the champion was fitted on newer data"
        case "worse_than_before":
            return f"worse than the fit before it, {rival} (skill {skill:+.1%})"
        case "not_compared":
            return f"the fit before it, {rival}, could not be scored: {objection.text}"
        case "refit_failed":
            return f"the fit on all data failed: {objection.text}"
        case "refit_unfinished":
            return (
                f"the fit on all data ran out of time after {objection.completed or 0:.0%} of its training "
                "(raise training.budget)"
            )
        case "refit_differs":
            return (
                f"the fit on all data differs from the judged one by {objection.difference or 0:.1f} times the mean "
                "CRPS on the newest forecasts"
            )
        case "refit_worse":
            return f"the fit on all data is worse on the newest forecasts than the judged one (skill {skill:+.1%})"
        case "recorded":
            return objection.text
