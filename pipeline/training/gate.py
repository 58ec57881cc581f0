"""The gate: which recipe serves, and whether a new fit of it may replace the one before.

A challenger is promoted only if it is shown to be better than every rival on the same held-out forecasts, by a test
that stays valid however many nights look (see `sequential`). The gate fails closed: a missing score, a lead at which a
rival is shown to be better, miscalibrated intervals or a collapse when the input of stations is withheld are
objections, and a single objection refuses. A refresh of the champion needs less:
it must not be worse than the fit before it by more than a margin.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pipeline.config.product import Gate
from pipeline.training.batch_test import can_compare
from pipeline.training.evaluate import Evaluation
from pipeline.training.history import PairedScores
from pipeline.training.nightly_test import nightly_p_values
from pipeline.training.verdict import DecisionKind, Interval, Objection, Places, Rival, Verdict


@dataclass(frozen=True)
class ScoredModel:
    """A model with its scores on the held-out issue times."""

    name: str
    scores: Evaluation
    champion: bool = False
    paired: PairedScores | None = None
    """Of a rival: all scores of the challenger and of it, night after night; by default those of tonight."""


@dataclass(frozen=True)
class HoldoutComparison:
    """The scores that the gate compares."""

    challenger: ScoredModel
    rivals: Sequence[ScoredModel]
    outage: Evaluation | None
    """The challenger with the input of a quarter of the locations withheld; None for a refresh."""
    outage_reference: Evaluation
    """Climatology, which needs no input."""
    issues: Sequence[datetime]
    nominal_coverage: float
    is_baseline: bool = False
    """Whether the challenger is a baseline, which challenges where no candidate is shown to be better."""
    cases: int | None = None
    """Held-out forecasts without a common valid time, about."""
    issues_per_step: float = 1.0
    """Issue times per step. Forecasts that overlap in time have correlated errors."""
    gap: int = 0
    """Largest number of steps between the newest frame known at an issue time and the issue time."""
    places: Places = "stations"
    """What the locations are."""
    open_for: timedelta = timedelta(0)
    """Longest time from the issue time of a forecast until its last value is due."""
    challengers: int = 1
    """Number of recipes that may ever challenge; they share the significance level."""
    older: bool = False
    """Whether the champion was fitted on newer data."""
    unscored: str = ""
    """Of a refresh: why the fit before it can have no scores, as after a change of the stations."""
    failure: str = ""
    """Of a refresh: the error that kept the fit before it from being scored."""

    def overlap(self, leads: int) -> int:
        """Return how many consecutive issue times forecast a common valid time, with `leads` leads each."""
        return max(1, ceil((self.gap + leads) * self.issues_per_step))


def diebold_mariano(differences: NDArray[np.float64], horizon: int) -> float:
    """Return the one-sided p-value of a mean loss difference below zero.

    The small-sample form of Harvey, Leybourne and Newbold (1997, doi:10.1016/S0169-2070(96)00719-4), with the
    autocovariances up to horizon - 1 weighted by Bartlett's kernel so that the variance stays positive.

    Args:
        differences: (issue,) loss of the challenger minus loss of the rival, in order of time.
        horizon: Number of consecutive issue times whose forecasts overlap, so that their errors are correlated.
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


def decide(comparison: HoldoutComparison, rules: Gate) -> Verdict:
    """Return the verdict on a challenger."""
    scored = [rival for rival in comparison.rivals if _is_compared(rival, rules)]
    rivals = tuple(_compare(comparison, rival, rules) for rival in scored)
    objections = (
        *_objections_to_age(comparison),
        *_objections_to_scores(comparison, rivals),
        *_objections_by_lead(comparison, scored, rules),
        *_objections_to_coverage(comparison, rules),
        *_objections_to_outage(comparison),
    )
    return _verdict("promotion", comparison, rivals, objections)


def accept_first_champion(comparison: HoldoutComparison, rules: Gate, refused: Verdict | None) -> Verdict:
    """Return the verdict on the best baseline of a product without a champion: it serves until another is shown better.

    Args:
        comparison: The baseline and its rivals.
        rules: The rules of the gate.
        refused: The verdict on the best candidate; None if none could be trained.
    """
    rivals = tuple(_compare(comparison, rival, rules) for rival in comparison.rivals)
    verdict = _verdict("promotion", comparison, rivals, ())
    candidate = {"best_candidate": refused.challenger, "refused": refused.objections} if refused else {}
    return verdict.model_copy(update={"is_baseline": True, "untested": True, **candidate})


def decide_refresh(comparison: HoldoutComparison, rules: Gate, checks: Sequence[Objection] = ()) -> Verdict:
    """Return the verdict on a new fit of the champion's recipe, whose refit has passed or failed `checks`.

    Where the fit before it can have no scores, because the stations have changed or its files are damaged, only the
    checks decide, and the verdict says so. Where scoring it failed, it stays.
    """
    rivals = tuple(
        _compare(comparison, rival, rules).model_copy(update={"skill": _shared_skill(comparison, rival)})
        for rival in comparison.rivals
    )
    objections = (*_objections_to_age(comparison), *_objections_to_refresh(comparison, rules), *checks)
    compared = any(np.isfinite(rival.skill) for rival in rivals)
    why = comparison.unscored or comparison.failure or "the two have no scored forecasts in common"
    uncompared = "" if compared else why
    return _verdict("refresh", comparison, rivals, objections).model_copy(update={"uncompared": uncompared})


def _verdict(
    kind: DecisionKind, comparison: HoldoutComparison, rivals: tuple[Rival, ...], objections: tuple[Objection, ...]
) -> Verdict:
    scores = comparison.challenger.scores
    return Verdict(
        kind=kind,
        objections=objections,
        first_champion=not any(rival.champion for rival in comparison.rivals),
        challenger=comparison.challenger.name,
        issues=len(comparison.issues),
        cases=comparison.cases,
        since=comparison.issues[0],
        until=comparison.issues[-1],
        crps=scores.mean_crps,
        crps_by_lead=scores.crps_by_lead,
        coverage=scores.coverage,
        nominal_coverage=comparison.nominal_coverage,
        intervals=_intervals(scores),
        outage_crps=comparison.outage.mean_crps if comparison.outage else float("nan"),
        rivals=rivals,
        places=comparison.places,
        is_baseline=comparison.is_baseline,
    )


def _intervals(scores: Evaluation) -> tuple[Interval, ...]:
    counts = scores.intervals
    if counts is None:
        return ()
    columns = zip(counts.nominal, counts.coverage, counts.by_lead, strict=True)
    return tuple(Interval(nominal=nominal, coverage=share, by_lead=leads) for nominal, share, leads in columns)


def _objections_to_refresh(comparison: HoldoutComparison, rules: Gate) -> Iterator[Objection]:
    missing = ~np.isfinite(comparison.challenger.scores.crps_by_lead)
    if missing.any():
        yield Objection(kind="score_missing", leads=tuple((np.flatnonzero(missing) + 1).tolist()))
    if comparison.failure:
        yield Objection(kind="not_compared", rival=comparison.rivals[0].name, text=comparison.failure)
    for rival in comparison.rivals:
        skill = _shared_skill(comparison, rival)
        # No test: two fits of a recipe on nearly the same data differ by little, and always in the same way.
        if skill < -rules.refresh_margin:
            yield Objection(kind="worse_than_before", rival=rival.name, skill=skill)


def _objections_to_age(comparison: HoldoutComparison) -> Iterator[Objection]:
    if comparison.older:
        yield Objection(kind="older_data")


def _shared_skill(comparison: HoldoutComparison, rival: ScoredModel) -> float:
    """Return the CRPS skill over a rival at the issue times that both have scores of; NaN if there are none."""
    ours, theirs = comparison.challenger.scores.crps_by_issue, rival.scores.crps_by_issue
    shared = np.isfinite(ours) & np.isfinite(theirs)
    if not shared.any():
        return float("nan")
    if ours[shared].mean() == theirs[shared].mean():  # both may be 0, in a long dry spell
        return 0.0
    return 1 - float(ours[shared].mean() / theirs[shared].mean())


def _is_compared(rival: ScoredModel, rules: Gate) -> bool:
    return ("champion" if rival.champion else "baselines") in rules.against


def _compare(comparison: HoldoutComparison, rival: ScoredModel, rules: Gate) -> Rival:
    challenger = comparison.challenger.scores
    tonight = np.stack([challenger.crps_by_issue, rival.scores.crps_by_issue])
    shared = np.isfinite(tonight).all(axis=0)
    # A score that one of them lacks at any lead or location would be a forecast left out of its mean.
    complete = bool(np.array_equal(np.isfinite(challenger.crps), np.isfinite(rival.scores.crps)) and shared.any())
    paired = rival.paired or PairedScores.empty().extended(comparison.issues, tonight, comparison.open_for)
    scored = paired.scores.shape[-1] > 0
    too_few = scored and not can_compare(paired.batch, paired.overlap(comparison.open_for))
    p_value = _p_value(paired, comparison, rules) if scored else 1.0
    mean = rival.scores.mean_crps
    skill = 1 - challenger.mean_crps / mean if mean > 0 else float("nan")
    return Rival(
        rival=rival.name,
        crps=mean,
        crps_by_lead=rival.scores.crps_by_lead,
        skill=skill,
        p_value=p_value,
        too_few=too_few,
        beaten=complete and skill > 0 and p_value <= rules.significance,
    )


def _p_value(paired: PairedScores, comparison: HoldoutComparison, rules: Gate) -> float:
    """Return an anytime-valid p-value of the hypothesis that the challenger is not better."""
    ours, theirs = paired.scores
    overlap = paired.overlap(comparison.open_for)
    p_values = nightly_p_values(
        ours, theirs, paired.batch, overlap, significance=rules.significance, challengers=comparison.challengers
    )
    return float(p_values[-1])


def _objections_to_scores(comparison: HoldoutComparison, rivals: Sequence[Rival]) -> Iterator[Objection]:
    if not rivals:
        yield Objection(kind="no_rivals")
    missing = ~np.isfinite(comparison.challenger.scores.crps_by_lead)
    if missing.any():
        yield Objection(kind="score_missing", leads=tuple((np.flatnonzero(missing) + 1).tolist()))
    for rival in rivals:
        if not rival.beaten:
            if rival.too_few:
                yield Objection(kind="not_tested", rival=rival.rival, skill=rival.skill)
            else:
                yield Objection(kind="not_shown_better", rival=rival.rival, skill=rival.skill, p_value=rival.p_value)


def _objections_by_lead(
    comparison: HoldoutComparison, rivals: Sequence[ScoredModel], rules: Gate
) -> Iterator[Objection]:
    """Object to leads at which a rival is shown to be better, and to leads with too few scores to compare."""
    ours = comparison.challenger.scores
    for rival in rivals:
        worse, too_few = [], []
        for lead in range(1, ours.crps.shape[1] + 1):
            differences = rival.scores.at_lead(lead - 1).crps_by_issue - ours.at_lead(lead - 1).crps_by_issue
            known = differences[np.isfinite(differences)]
            overlap = comparison.overlap(lead)
            if len(known) <= 2 * overlap:
                too_few.append(lead)
            elif diebold_mariano(known, overlap) < rules.significance:
                worse.append(lead)
        if worse:
            yield Objection(kind="worse_at_leads", rival=rival.name, leads=tuple(worse))
        if too_few:
            yield Objection(kind="too_few_scores", rival=rival.name, leads=tuple(too_few))


def _objections_to_coverage(comparison: HoldoutComparison, rules: Gate) -> Iterator[Objection]:
    coverage, nominal = comparison.challenger.scores.coverage, comparison.nominal_coverage
    if not abs(coverage - nominal) <= rules.coverage_tolerance:
        yield Objection(kind="coverage", coverage=coverage, nominal_coverage=nominal)


def _objections_to_outage(comparison: HoldoutComparison) -> Iterator[Objection]:
    ours, reference = comparison.outage, comparison.outage_reference
    if ours is None or not np.array_equal(np.isfinite(ours.crps), np.isfinite(reference.crps)):
        yield Objection(kind="outage_scores_missing")
    elif not ours.mean_crps < reference.mean_crps:
        yield Objection(kind="outage_not_better")
