"""The gate's verdict as data: objections with a kind and numbers. `describe_verdict` makes the sentence."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, computed_field, model_validator

Places = Literal["stations", "cells"]

ObjectionKind = Literal[
    "no_rivals",
    "score_missing",
    "not_shown_better",
    "worse_at_leads",
    "too_few_scores",
    "coverage",
    "outage_scores_missing",
    "outage_not_better",
    "recorded",
]


class Objection(BaseModel):
    """One reason not to promote a challenger."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: ObjectionKind
    rival: str = ""
    """Name of the rival: of not_shown_better, worse_at_leads and too_few_scores."""
    leads: tuple[int, ...] = ()
    """Leads in steps, from 1: of score_missing, worse_at_leads and too_few_scores."""
    skill: float | None = None
    """CRPS skill against the rival: of not_shown_better."""
    p_value: float | None = None
    """Diebold-Mariano p-value: of not_shown_better."""
    coverage: float | None = None
    """Observed coverage of the widest interval: of coverage."""
    nominal_coverage: float | None = None
    """Its nominal coverage: of coverage."""
    text: str = ""
    """The sentence of a verdict that an earlier release recorded without objections: of recorded."""


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
    """One-sided Diebold-Mariano p-value of the hypothesis that the challenger is not better."""
    beaten: bool


class Verdict(BaseModel):
    """What the gate decided, with the numbers behind it. A challenger is promoted if there are no objections."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    objections: tuple[Objection, ...]
    first_champion: bool = False
    """Whether there was no champion to compare with."""
    challenger: str
    issues: int
    """Number of held-out issue times scored."""
    since: datetime
    until: datetime
    crps: float
    """Mean CRPS of the challenger in units of the target; of several targets, relative to climatology."""
    crps_by_lead: tuple[float, ...]
    coverage: float
    """Fraction of observations inside the widest interval."""
    nominal_coverage: float
    outage_crps: float
    """CRPS with the input of a quarter of the locations withheld."""
    rivals: tuple[Rival, ...]
    places: Places = "stations"
    """What the locations are."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def promoted(self) -> bool:
        """Whether the challenger becomes champion."""
        return not self.objections

    @computed_field  # type: ignore[prop-decorator]
    @property
    def reason(self) -> str:
        """The verdict in one sentence."""
        return describe_verdict(self)

    @model_validator(mode="before")
    @classmethod
    def _upgrade(cls, values: Any) -> Any:
        """Drop what is derived; a verdict of an earlier release has its objections as a sentence only."""
        if not isinstance(values, dict):
            return values
        fields = dict(values)
        promoted, reason = fields.pop("promoted", None), fields.pop("reason", "")
        if "objections" not in fields and promoted is not None:
            fields["objections"] = () if promoted else ({"kind": "recorded", "text": reason},)
            fields["first_champion"] = reason.startswith("first champion")
        return fields


def describe_verdict(verdict: Verdict) -> str:
    """Return the reason of a verdict in one sentence."""
    if verdict.objections:
        return "; ".join(describe_objection(objection, verdict.places) for objection in verdict.objections)
    best = min(verdict.rivals, key=lambda rival: rival.crps)
    praise = f"best of all, {best.skill:.1%} better in CRPS than {best.rival}"
    return f"first champion, {praise}" if verdict.first_champion else praise


def describe_objection(objection: Objection, places: Places = "stations") -> str:
    """Return an objection as a clause, with what to do where something can be done."""
    rival, leads = objection.rival, ", ".join(map(str, objection.leads))
    skill, p_value, coverage, nominal = (
        float("nan") if number is None else number
        for number in (objection.skill, objection.p_value, objection.coverage, objection.nominal_coverage)
    )
    match objection.kind:
        case "no_rivals":
            return "no rival to compare with"
        case "score_missing":
            return f"the challenger has no score at lead {leads}"
        case "not_shown_better":
            return f"not shown to be better than {rival} (skill {skill:+.1%}, p {p_value:.2f})"
        case "worse_at_leads":
            return f"worse than {rival} at lead {leads}"
        case "too_few_scores":
            return f"too few scores in common with {rival} at lead {leads}"
        case "coverage":
            return (
                f"the interval covers {coverage:.0%} instead of {nominal:.0%} (calibrate on more issue times with "
                "training.validation, or allow a larger difference with gate.coverage_tolerance)"
            )
        case "outage_scores_missing":
            return f"some forecasts have no score with a quarter of the {places} withheld"
        case "outage_not_better":
            return f"not better than climatology with a quarter of the {places} withheld"
        case "recorded":
            return objection.text
