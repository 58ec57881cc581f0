"""Fit every model of a retrain within its time: baselines, candidates, and the champion's recipe."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from models.errors import ModelError
from pipeline.features.snapshot import Snapshot
from pipeline.training.budget import BASELINE_SHARE, Budget, candidate_share, refit_ratio
from pipeline.training.cost import SIZES, Estimate, correction_seconds, estimate
from pipeline.training.fit import (
    CLIMATOLOGY,
    REQUIRED_BASELINES,
    FittedModel,
    OnEpoch,
    baseline_names,
    fit_model,
    ignore_epoch,
)
from pipeline.training.folds import SMALLEST_TRAINING_SET, Folds
from pipeline.training.recipe import Champion, Recipe

log = logging.getLogger(__name__)

PASSES_AFTER = 3
"""Times that a network forecasts the validation issue times after the last step of its training."""


@dataclass(frozen=True)
class Fits:
    """Every model of a retrain, fitted once on each fold."""

    fitted: dict[str, FittedModel]
    """By name."""
    champion: str | None
    """Name under which the champion's recipe was fitted, if it was."""
    failed: dict[str, str]
    """Why the others were not, by name."""
    by_key: dict[str, FittedModel]
    """By the key of the recipe, with those that are only parts of others."""


def fit_all(
    snapshot: Snapshot,
    folds: Folds,
    champion: Champion | None = None,
    budget: Budget | None = None,
    *,
    on_epoch: OnEpoch = ignore_epoch,
) -> Fits:
    """Fit every candidate, every baseline and the champion's recipe, each once, and their parts before them.

    Each is asked for its cost first. One that does not fit into its share of the time is fitted to the newest part of
    its training data, or left out. Any of them may fail, in any way, except climatology and persistence.

    Raises:
        ModelError: one of these cannot be fitted, so there is nothing to compare with.
    """
    training = snapshot.product.training
    baselines = baseline_names(grid=snapshot.task.grid is not None)
    names = dict.fromkeys((*REQUIRED_BASELINES, *baselines, *training.candidates))
    recipes = {name: Recipe(name, training.options.get(name, {})) for name in names}
    champion_name = None
    if champion is not None and champion.recipe is not None:
        champion_name = _name_of(champion.recipe, recipes, snapshot) or champion.name
        recipes.setdefault(champion_name, champion.recipe)
    run = _Run(snapshot, folds, budget or Budget(training.budget), baselines, on_epoch)
    for name, recipe in recipes.items():
        run.plan(name, recipe)
    run.fit_all()
    return Fits(run.fitted, champion_name if champion_name in run.fitted else None, run.failed, run.by_key)


def too_few_issue_times(folds: Folds) -> str | None:
    """Return why models other than baselines are not fitted on a short record, or None if they are."""
    shortest = min(len(fold.train) for fold in folds.folds)
    if shortest >= SMALLEST_TRAINING_SET:
        return None
    return f"it needs {SMALLEST_TRAINING_SET} issue times to train on, and a fold of this record has {shortest}"


@dataclass(frozen=True)
class _Planned:
    """A model to fit."""

    name: str
    recipe: Recipe
    parts: Mapping[str, str]
    """Keys of its parts by role."""
    depth: int
    """0 for a model without parts; otherwise one more than the deepest of them."""


class _Run:
    """The fits of a retrain: planned first, so that a part of several models is fitted once, then made one by one."""

    def __init__(
        self, snapshot: Snapshot, folds: Folds, budget: Budget, baselines: tuple[str, ...], on_epoch: OnEpoch
    ) -> None:
        self._snapshot, self._folds, self._budget = snapshot, folds, budget
        self._baselines, self._on_epoch = baselines, on_epoch
        self._correction = 0.0
        self._plan: dict[str, _Planned] = {}
        self._keys: dict[str, str] = {}
        self.by_key: dict[str, FittedModel] = {}
        self.fitted: dict[str, FittedModel] = {}
        self.failed: dict[str, str] = {}

    def plan(self, name: str, recipe: Recipe) -> None:
        """Plan to fit a model and its parts, or record why that is not possible.

        Raises:
            ModelError: climatology or persistence cannot be built.
        """
        try:
            reason = None if name in self._baselines else too_few_issue_times(self._folds)
            if reason:
                raise ModelError(f"left out: {reason}")
            self._keys[name] = self._add(name, recipe)
        except Exception as error:  # whatever is wrong with one model, the others go on
            self._fail(name, error)

    def _add(self, name: str, recipe: Recipe) -> str:
        model = recipe.build(self._snapshot.task)
        key = Recipe.of(model).key(model.task)
        if key not in self._plan:
            parts = {role: self._add(f"{part.name} of {name}", Recipe.of(part)) for role, part in model.parts().items()}
            depth = 1 + max((self._plan[part].depth for part in parts.values()), default=-1)
            self._plan[key] = _Planned(name, recipe, parts, depth)
        return key

    def fit_all(self) -> None:
        """Fit everything planned: baselines first, and each model after its parts.

        Raises:
            ModelError: climatology or persistence cannot be fitted.
        """
        order = sorted(self._plan.items(), key=lambda item: (item[1].name not in self._baselines, item[1].depth))
        for position, (key, planned) in enumerate(order):
            try:
                self.by_key[key] = self._fit(planned, remaining=len(order) - position)
            except Exception as error:  # as in `plan`
                self._fail(planned.name, error)
                for name in (name for name, its_key in self._keys.items() if its_key == key):
                    self.failed[name] = self.failed[planned.name]
        names = {name: key for name, key in self._keys.items() if key in self.by_key}
        self.fitted = {name: replace(self.by_key[key], name=name) for name, key in names.items()}

    def _fail(self, name: str, error: Exception) -> None:
        if name in REQUIRED_BASELINES:
            raise error
        log.warning("%s failed: %s", name, error, exc_info=not isinstance(error, ModelError))
        self.failed[name] = str(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {error}"

    def _fit(self, planned: _Planned, *, remaining: int) -> FittedModel:
        name, seconds, size = planned.name, None, 1.0
        parts = {role: self.by_key[key] for role, key in planned.parts.items() if key in self.by_key}
        if name not in REQUIRED_BASELINES:
            left, newest = self._left(), {role: part.model for role, part in parts.items()}
            share = BASELINE_SHARE * left if name in self._baselines else candidate_share(left, remaining, self._folds)
            if share <= 0:
                raise ModelError("left out: training.budget is spent; raise it, or remove other candidates")
            model = planned.recipe.build(self._snapshot.task)
            fits = self._fits(name)
            expected = estimate(model, self._snapshot, self._folds.newest, newest, share / fits)
            if model.keeps_to_budget:
                seconds = self._seconds(expected, share)
            elif expected is not None:
                size = self._size(expected, fits, share)
            if size < 1:
                log.warning("%s is fitted to the newest %.0f %% of its training data", name, 100 * size)
        fitted = fit_model(
            name,
            planned.recipe,
            self._snapshot,
            self._folds,
            parts=parts,
            seconds=seconds,
            size=size,
            on_epoch=self._on_epoch,
        )
        if name == CLIMATOLOGY:
            self._correction = correction_seconds(fitted.models, self._snapshot, self._folds, fitted.cost.issue)
        return replace(fitted, cost=replace(fitted.cost, issue=fitted.cost.issue + self._correction))

    def _fits(self, name: str) -> float:
        """Return how many times as long all fits of a model take as one on the newest fold, about.

        Every baseline is fitted again on all data; the time of the one candidate that may be is set aside.
        """
        folds = self._folds
        judged = sum(len(fold.train) for fold in folds.folds) / len(folds.newest.train)
        return judged + refit_ratio(folds) if name in self._baselines else judged

    def _left(self) -> float:
        costs = {key: one.cost for key, one in self.by_key.items()}
        baselines = [cost for key, cost in costs.items() if self._plan[key].name in self._baselines]
        return self._budget.for_fits(costs.values(), baselines, self._folds)

    def _seconds(self, expected: Estimate | None, share: float) -> float:
        """Return the time for a fit on one fold of a model that keeps to it."""
        issue = 0.0 if expected is None else expected.issue
        scoring = self._scoring(issue) + PASSES_AFTER * issue * self._folds.validated
        seconds = (share - scoring) / len(self._folds.folds)
        if seconds <= 0:
            raise ModelError(_too_long(scoring, share))
        return seconds

    def _scoring(self, issue: float) -> float:
        """Return the seconds to score a model on the validation and the held-out issue times."""
        return issue * self._folds.validated + (issue + self._correction) * len(self._folds.holdout)

    def _size(self, expected: Estimate, fits: float, share: float) -> float:
        """Return the largest part of its training data that a model can be fitted to in time."""
        scoring = self._scoring(expected.issue)
        for size in SIZES:
            needed = expected.fit(size) * fits + scoring
            if needed <= share:
                return size
        raise ModelError(_too_long(needed, share))


def _too_long(needed: float, share: float) -> str:
    return (
        f"left out: it would take about {needed:.0f} s, and its share of training.budget is {share:.0f} s; "
        "raise training.budget, or remove other candidates"
    )


def _name_of(recipe: Recipe, recipes: Mapping[str, Recipe], snapshot: Snapshot) -> str | None:
    """Return the name under which an equal recipe is listed, or None."""
    same = recipes.get(recipe.model)
    try:
        equal = same is not None and same.build(snapshot.task).options() == recipe.build(snapshot.task).options()
    except ModelError:
        return None
    return recipe.model if equal else None
