"""The decisions of a retrain: which recipe serves from now on, and which fit of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from models.base import Model
from models.errors import ModelError
from models.statistics.conformal import Recalibration
from pipeline.features.snapshot import Snapshot
from pipeline.training.batch_test import can_compare
from pipeline.training.budget import Budget, refit_ratio
from pipeline.training.comparison import compare_challenger, compare_refresh, pair_scores
from pipeline.training.fit import CLIMATOLOGY, REQUIRED_BASELINES, FittedModel, OnEpoch, ignore_epoch
from pipeline.training.folds import Folds
from pipeline.training.gate import accept_first_champion, decide, decide_refresh
from pipeline.training.history import ScoreHistory
from pipeline.training.holdout import TrainingOutcome
from pipeline.training.recipe import Champion
from pipeline.training.refit import Refit, Refitter
from pipeline.training.verdict import Verdict

log = logging.getLogger(__name__)

MOST_WARM_STARTS = 6
"""Refreshes in a row that continue from the fit before; the next one starts from scratch.

Each adds a quarter of the training length that validation found best, so more of them would overfit unnoticed.
"""


@dataclass(frozen=True)
class FittedModels:
    """A model to serve, and the baselines to serve beside it, fitted on the same data."""

    model: Model
    baselines: Mapping[str, Model]
    """By name, best on the held-out issue times first. If climatology or persistence is the model, it is the last."""
    trained_until: datetime
    """Last issue time used in training."""
    data_until: datetime
    """Time by which all training data were known."""
    recalibration: Recalibration | None = None
    """Correction of the model's quantiles, learnt from the held-out forecasts of its judged fit."""
    baseline_recalibrations: Mapping[str, Recalibration] = field(default_factory=dict)
    """Those of the baselines, by name."""
    recalibrated_until: datetime | None = None
    """Time by which everything that the corrections were learnt from was known."""


@dataclass(frozen=True)
class Decision:
    """The verdict on a fitted recipe that asked to serve."""

    fitted: FittedModel
    verdict: Verdict
    judged: FittedModels
    """What the gate scored."""
    refit: FittedModels | None = None
    """The same recipes fitted on all data, which serve in place of the judged fits."""
    warm_starts: int = 0
    """Number of refreshes in a row that continued from the fit before."""

    @property
    def serves(self) -> bool:
        """Whether it serves from now on."""
        return not self.verdict.objections


def decide_all(
    snapshot: Snapshot,
    folds: Folds,
    outcome: TrainingOutcome,
    champion: Champion | None,
    history: ScoreHistory,
    budget: Budget | None = None,
    *,
    on_epoch: OnEpoch = ignore_epoch,
) -> tuple[Decision, ...]:
    """Return the decisions of a retrain, the one on a challenger first; at most one of them is to serve.

    The first challenger that passes the gate is promoted. If none does, the champion's recipe is fitted again on all
    data, and serves in place of the fit before it unless it is worse. A product without a champion, whose best
    candidate does not pass, gets the baseline with the lowest held-out CRPS: nothing serves that it could be worse
    than, so this needs no test.
    """
    rules = snapshot.product.gate
    fits = _Refits(snapshot, folds, outcome, budget or Budget(snapshot.product.training.budget), on_epoch)
    decisions = []
    for challenger in outcome.challengers:
        if challenger is outcome.champion or (champion is None and challenger not in outcome.candidates):
            continue
        verdict = decide(compare_challenger(snapshot, folds, outcome, challenger, champion, history), rules)
        judged = _judged(snapshot, folds, outcome, challenger)
        if verdict.promoted:
            return (_promote(challenger, verdict, judged, fits),)
        decisions.append(Decision(challenger, verdict, judged))
    if champion is None:
        baseline = _best_baseline(outcome)
        comparison = compare_challenger(snapshot, folds, outcome, baseline, None, history)
        verdict = accept_first_champion(comparison, rules, decisions[0].verdict if decisions else None)
        return (_promote(baseline, verdict, _judged(snapshot, folds, outcome, baseline), fits),)
    if outcome.champion is not None:
        # The best baseline challenges every night; that it does not replace the champion is not recorded each time.
        refused = [one for one in decisions if one.fitted in outcome.candidates][:1]
        return (*refused, _refresh(snapshot, folds, outcome, outcome.champion, champion, fits))
    return tuple(decisions[:1])


def extend_history(snapshot: Snapshot, folds: Folds, outcome: TrainingOutcome, history: ScoreHistory) -> ScoreHistory:
    """Return the history of every pair that the gate may compare, with tonight's scores."""
    pairs = {
        (challenger.key, rival.key): pair_scores(snapshot, folds, outcome, challenger, rival, history)
        for challenger in outcome.challengers
        for rival in outcome.fitted
        if rival is not challenger
    }
    # A pair with too few cases has not been tested, so it may start again when there are more.
    return {pair: one for pair, one in pairs.items() if can_compare(one.batch, one.overlap(folds.open_for))}


def _promote(fitted: FittedModel, verdict: Verdict, judged: FittedModels, fits: _Refits) -> Decision:
    """Return the decision on a recipe that becomes champion, with its fit on all data if that passes its checks."""
    refitted = fits.of(fitted)
    verdict = verdict.model_copy(update={"refit": refitted.objections})
    model = None if refitted.objections else refitted.model
    return Decision(fitted, verdict, judged, fits.beside(model, judged))


def _best_baseline(outcome: TrainingOutcome) -> FittedModel:
    """Return the baseline with the lowest held-out CRPS, of those with a score wherever climatology has one."""
    scored = {name: np.isfinite(scores.crps) for name, scores in outcome.holdout.items()}
    return next(one for one in outcome.baselines if np.array_equal(scored[one.name], scored[CLIMATOLOGY]))


def _refresh(
    snapshot: Snapshot,
    folds: Folds,
    outcome: TrainingOutcome,
    fitted: FittedModel,
    champion: Champion,
    fits: _Refits,
) -> Decision:
    rules = snapshot.product.gate
    # A champion that never gets the time to start from scratch would not be refreshed any more.
    warm = champion.warm_starts < MOST_WARM_STARTS or not fits.has_time_for(fitted)
    refitted = fits.of(fitted, start=champion.serving if warm else None)
    comparison = compare_refresh(snapshot, folds, outcome, fitted, champion)
    verdict = decide_refresh(comparison, rules, refitted.objections)
    model, judged = None if verdict.objections else refitted.model, _judged(snapshot, folds, outcome, fitted)
    warm_starts = champion.warm_starts + 1 if refitted.continued else 0
    return Decision(fitted, verdict, judged, fits.beside(model, judged), warm_starts)


def _judged(snapshot: Snapshot, folds: Folds, outcome: TrainingOutcome, fitted: FittedModel) -> FittedModels:
    baselines = {one.name: one.model for one in outcome.baselines if one is not fitted}
    if fitted.name in REQUIRED_BASELINES:  # they are the last fallbacks of every bundle
        baselines[fitted.name] = fitted.model
    corrections = {name: one.newest for name, one in outcome.recalibrations.items()}
    return FittedModels(
        fitted.model,
        baselines,
        folds.newest.trained_until,
        folds.newest.data_until,
        corrections.get(fitted.name),
        {name: corrections[name] for name in baselines if name in corrections},
        snapshot.newest_known,
    )


class _Refits:
    """The fits on all data of one night: of the recipe that is to serve, and of the baselines beside it."""

    def __init__(
        self, snapshot: Snapshot, folds: Folds, outcome: TrainingOutcome, budget: Budget, on_epoch: OnEpoch
    ) -> None:
        self._snapshot, self._folds, self._outcome, self._budget = snapshot, folds, outcome, budget
        self._refitter = Refitter(snapshot, folds, outcome.by_key, on_epoch=on_epoch)

    def of(self, fitted: FittedModel, *, start: Model | None = None) -> Refit:
        """Return the checked refit of a recipe, in the time that the baselines and the record leave."""
        return self._refitter.refit_checked(fitted, start=start, seconds=self._seconds(fitted))

    def has_time_for(self, fitted: FittedModel) -> bool:
        """Return whether the time suffices to fit a recipe from scratch, by what its judged fit took."""
        return self._seconds(fitted) >= fitted.cost.fit * refit_ratio(self._folds)

    def _seconds(self, fitted: FittedModel) -> float:
        return self._budget.for_refit(fitted.cost, [one.cost for one in self._outcome.baselines], self._folds)

    def beside(self, model: Model | None, judged: FittedModels) -> FittedModels | None:
        """Return a refit with the baselines fitted on the same data.

        One that fails, or for which no time is left, keeps its judged fit.
        """
        if model is None:
            return None
        fitted = {one.name: one for one in self._outcome.baselines}
        baselines = {name: self._baseline(fitted[name]) for name in judged.baselines}
        trained_until, data_until = self._folds.matured[-1], self._snapshot.newest_known
        return replace(judged, model=model, baselines=baselines, trained_until=trained_until, data_until=data_until)

    def _baseline(self, one: FittedModel) -> Model:
        if self._budget.after_refit([one.cost], self._folds) < 0:
            log.warning("baseline %s is not fitted on all data: training.budget is spent", one.name)
            return one.model
        try:
            return self._refitter.refit(one)
        except Exception as error:  # a fallback is not worth the refit of the model that serves
            log.warning(
                "baseline %s cannot be fitted on all data: %s",
                one.name,
                error,
                exc_info=not isinstance(error, ModelError),
            )
            return one.model
