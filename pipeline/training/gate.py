"""The gate: a challenger serves only when it is shown to be better, on the same held-out forecasts, than every rival.

It fails closed. A score that is missing or no number, a lead at which a rival is shown to be better, intervals that
promise too much or too little, collapse when stations fall silent: each refuses, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy import stats

from pipeline.config.product import Gate
from pipeline.training.evaluate import Evaluation

Places = Literal["stations", "cells"]


class Rival(BaseModel):
    """A challenger set against one rival on the same held-out forecasts."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rival: str
    """Name of the model, with its version when it is the champion."""
    crps: float
    """Mean CRPS of the rival, in units of the target; of several targets, each relative to climatology's."""
    crps_by_lead: tuple[float, ...]
    skill: float
    """1 - CRPS of the challenger / CRPS of the rival."""
    p_value: float
    """One-sided Diebold-Mariano probability that the challenger is not better."""
    beaten: bool


class Verdict(BaseModel):
    """What the gate decided, and every number behind it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    promoted: bool
    reason: str
    """The verdict in one sentence."""
    challenger: str
    issues: int
    """Held-out issue times scored."""
    since: datetime
    until: datetime
    crps: float
    """Mean CRPS of the challenger, in units of the target; of several targets, each relative to climatology's."""
    crps_by_lead: tuple[float, ...]
    coverage: float
    """Fraction of truths inside the widest interval."""
    nominal_coverage: float
    outage_crps: float
    """CRPS with a quarter of the places silent."""
    rivals: tuple[Rival, ...]
    places: Places = "stations"
    """What the locations are."""


@dataclass(frozen=True)
class ScoredModel:
    """A model with its scores on the held-out issue times."""

    name: str
    scores: Evaluation
    champion: bool = False


@dataclass(frozen=True)
class Trial:
    """All that the gate looks at."""

    challenger: ScoredModel
    rivals: Sequence[ScoredModel]
    outage: Evaluation
    """The challenger with a quarter of the places silent."""
    outage_reference: Evaluation
    """Climatology, which needs no station."""
    issues: Sequence[datetime]
    nominal_coverage: float
    issues_per_step: float = 1.0
    """How many issue times fall into one step: forecasts that overlap share errors."""
    gap: int = 0
    """Steps between the newest frame an issue time can know and the issue time itself, at most."""
    places: Places = "stations"
    """What the locations are."""

    def overlap(self, leads: int) -> int:
        """Return how many issue times in a row forecast a common instant, with `leads` leads each."""
        return max(1, ceil((self.gap + leads) * self.issues_per_step))


def diebold_mariano(differences: NDArray[np.float64], horizon: int) -> float:
    """Return the one-sided probability, were both equally good, of a mean loss difference at least this negative.

    The small-sample form of Harvey, Leybourne and Newbold (1997, doi:10.1016/S0169-2070(96)00719-4), with the
    autocovariances up to horizon - 1 weighted by Bartlett's kernel so that the variance stays positive.

    Args:
        differences: (issue,) loss of the challenger minus loss of the rival, in order of time.
        horizon: Issue times in a row whose forecasts overlap and so share errors.
    """
    count = len(differences)
    mean = differences.mean()
    centred = differences - mean
    lags = min(horizon, count) - 1
    variance = centred @ centred / count
    for lag in range(1, lags + 1):
        variance += 2 * (1 - lag / (lags + 1)) * (centred[lag:] @ centred[:-lag]) / count
    if not variance > 0:
        return 1.0
    correction = np.sqrt((count + 1 - 2 * horizon + horizon * (horizon - 1) / count) / count)
    statistic = correction * mean / np.sqrt(variance / count)
    return float(stats.t.cdf(statistic, df=count - 1))


def judge(trial: Trial, rules: Gate) -> Verdict:
    """Return the verdict on a challenger; whatever is missing or broken refuses."""
    challenger = trial.challenger
    rivals = tuple(_compare(trial, rival, rules) for rival in trial.rivals if _counts(rival, rules))
    objections = list(_objections(trial, rivals, rules))
    first = not any(rival.champion for rival in trial.rivals)
    best = max(rivals, key=lambda rival: -rival.crps, default=None)
    praise = f"best of all, {best.skill:.1%} better in CRPS than {best.rival}" if best else ""
    return Verdict(
        promoted=not objections,
        reason="; ".join(objections) or (f"first champion, {praise}" if first else praise),
        challenger=challenger.name,
        issues=len(trial.issues),
        since=trial.issues[0],
        until=trial.issues[-1],
        crps=challenger.scores.mean_crps,
        crps_by_lead=challenger.scores.crps_by_lead,
        coverage=challenger.scores.coverage,
        nominal_coverage=trial.nominal_coverage,
        outage_crps=trial.outage.mean_crps,
        rivals=rivals,
        places=trial.places,
    )


def _counts(rival: ScoredModel, rules: Gate) -> bool:
    return ("champion" if rival.champion else "baselines") in rules.against


def _compare(trial: Trial, rival: ScoredModel, rules: Gate) -> Rival:
    challenger = trial.challenger
    ours, theirs = challenger.scores.crps_by_issue, rival.scores.crps_by_issue
    shared = np.isfinite(ours) & np.isfinite(theirs)
    # A score that one of them lacks at any lead or station would be a forecast left out of its mean.
    complete = bool(
        np.array_equal(np.isfinite(challenger.scores.crps), np.isfinite(rival.scores.crps)) and shared.any()
    )
    overlap = trial.overlap(challenger.scores.crps.shape[1])
    p_value = diebold_mariano((ours - theirs)[shared], overlap) if shared.sum() > 2 * overlap else 1.0
    mean = rival.scores.mean_crps
    skill = 1 - challenger.scores.mean_crps / mean if mean > 0 else float("nan")
    return Rival(
        rival=rival.name,
        crps=mean,
        crps_by_lead=rival.scores.crps_by_lead,
        skill=skill,
        p_value=p_value if np.isfinite(p_value) else 1.0,
        beaten=complete and skill > 0 and p_value < rules.significance,
    )


def _lost_leads(trial: Trial, rival: ScoredModel, rules: Gate) -> tuple[list[int], list[int]]:
    """Leads, from 1, at which the rival is shown to be better, and those with too few scores to tell."""
    ours, theirs = trial.challenger.scores, rival.scores
    lost, untold = [], []
    for lead in range(1, ours.crps.shape[1] + 1):
        differences = theirs.at_lead(lead - 1).crps_by_issue - ours.at_lead(lead - 1).crps_by_issue
        known = differences[np.isfinite(differences)]
        if len(known) <= 2 * trial.overlap(lead):
            untold.append(lead)
        elif diebold_mariano(known, trial.overlap(lead)) < rules.significance:
            lost.append(lead)
    return lost, untold


def _objections(trial: Trial, rivals: Sequence[Rival], rules: Gate) -> Sequence[str]:
    scores = trial.challenger.scores
    found = []
    if not rivals:
        found.append("no rival to compare with")
    if not np.isfinite(scores.crps_by_lead).all():
        found.append("the challenger has no score at some lead")
    found += [
        f"not shown better than {rival.rival} (skill {rival.skill:+.1%}, p {rival.p_value:.2f})"
        for rival in rivals
        if not rival.beaten
    ]
    for contestant in trial.rivals:
        if _counts(contestant, rules):
            lost, untold = _lost_leads(trial, contestant, rules)
            if lost:
                found.append(f"worse than {contestant.name} at lead {', '.join(map(str, lost))}")
            if untold:
                found.append(
                    f"too few scores shared with {contestant.name} to compare lead {', '.join(map(str, untold))}"
                )
    miss = scores.coverage - trial.nominal_coverage
    if not abs(miss) <= rules.coverage_tolerance:
        found.append(
            f"interval covers {scores.coverage:.0%} where it promises {trial.nominal_coverage:.0%} (more issue times "
            "in training.validation calibrate better, gate.coverage_tolerance says how far off is allowed)"
        )
    if not np.array_equal(np.isfinite(trial.outage.crps), np.isfinite(trial.outage_reference.crps)):
        found.append(f"it has not every score with a quarter of the {trial.places} silent")
    elif not trial.outage.mean_crps < trial.outage_reference.mean_crps:
        found.append(f"not better than climatology when a quarter of the {trial.places} is silent")
    return found
