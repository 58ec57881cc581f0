"""Scores of a recipe on the inner folds, fold by fold, so that a hopeless trial can be stopped early."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.base import Epoch, Model
from models.errors import ModelError
from pipeline.features.windows import IssueWindows
from pipeline.training.evaluate import Evaluation, evaluate
from pipeline.training.fit import CLIMATOLOGY
from pipeline.training.inner_folds import InnerFolds
from pipeline.training.recipe import Recipe

Scores = list[NDArray[np.float64]]
"""Of each fold, the mean CRPS of each issue time: (issue,)."""


class OutOfTime(Exception):  # noqa: N818 - no error of the model
    """The time of the search ended within a trial."""


@dataclass(frozen=True)
class Watch:
    """Sees how a trial goes on, and may raise to end it."""

    on_loss: Callable[[int, float], None]
    """Called with the number of the fold and the validation loss in the middle of training."""
    on_fold: Callable[[Scores], None]
    """Called with the scores of the folds so far."""
    on_epoch: Callable[[int, Epoch], None]
    """Called with the number of the fold after each epoch."""


@dataclass(frozen=True)
class _Windows:
    """One fold: windows to train on, to validate on and to score, read when they are used."""

    train: IssueWindows
    validation: IssueWindows
    scored: IssueWindows
    climatology: Evaluation | None
    """Scores of climatology, to which those of several variables are related; None for one variable."""


class Scorer:
    """Fits recipes of one model and scores them.

    The windows and the climatology of a fold are made once, and so is each part of the models, such as the base of a
    network.

    Args:
        inner: The folds.
        model: Name of the model.
        present: Its present options.
        fit_seconds: Time limit of each fit, as it is in a retrain.
    """

    def __init__(self, inner: InnerFolds, model: str, present: Mapping[str, Any], *, fit_seconds: float) -> None:
        self._inner, self._model, self._present, self._fit_seconds = inner, model, present, fit_seconds
        self._parts: dict[tuple[int, str], Model] = {}

    def recipe(self, options: Mapping[str, Any]) -> Recipe:
        """Return the recipe with these options in place of the present ones."""
        return Recipe(self._model, {**self._present, **options})

    def score(self, options: Mapping[str, Any], watch: Watch, *, ends: float) -> Scores:
        """Return the scores of the recipe with these options.

        Args:
            options: In place of the present ones.
            watch: Called on the way.
            ends: `time.monotonic` at which the search must have ended. No fold starts that would take longer, and no
                score counts for which training was cut short.

        Raises:
            ModelError: the recipe cannot be built or fitted, or a score is not finite.
            OutOfTime: the time ended before all folds were scored.
        """
        scores: Scores = []
        began = time.monotonic()
        for number in range(len(self._folds)):
            now = time.monotonic()
            if number and now + (now - began) / number > ends:
                raise OutOfTime
            scores.append(self._score_fold(number, options, watch, ends))
            watch.on_fold(scores)
        return scores

    @cached_property
    def _folds(self) -> list[_Windows]:
        snapshot = self._inner.snapshot
        folds = []
        for fold in self._inner.folds:
            train, validation, scored = (fold.windows(snapshot, part) for part in ("train", "validation", "holdout"))
            climatology = None
            if len(snapshot.task.targets) > 1:
                model = Recipe(CLIMATOLOGY).build(snapshot.task)
                model.fit(train, validation)
                climatology = evaluate(model, scored)
            folds.append(_Windows(train, validation, scored, climatology))
        return folds

    def _score_fold(self, number: int, options: Mapping[str, Any], watch: Watch, ends: float) -> NDArray[np.float64]:
        fold, snapshot = self._folds[number], self._inner.snapshot
        half_way = False

        def progress(epoch: Epoch) -> None:
            nonlocal half_way
            watch.on_epoch(number, epoch)
            if not half_way and epoch.epochs > 1 and 2 * epoch.epoch >= epoch.epochs:
                half_way = True
                watch.on_loss(number, epoch.validation_loss)

        model = self.recipe(options).build(snapshot.task)
        parts = {role: self._fitted_part(number, part) for role, part in model.parts().items()}
        left = ends - time.monotonic()
        model.fit(
            fold.train,
            fold.validation,
            seed=snapshot.product.training.seed,
            budget_seconds=max(0.0, min(self._fit_seconds, left)),
            parts=parts or None,
            progress=progress,
        )
        if left < self._fit_seconds and time.monotonic() > ends:
            raise OutOfTime
        scores = evaluate(model, fold.scored).relative_to(fold.climatology).crps_by_issue
        if not np.isfinite(scores).any():
            raise ModelError(f"{self._model}: no score of fold {number + 1} is a finite number")
        return scores

    def _fitted_part(self, number: int, part: Model) -> Model:
        """Return a model like `part`, fitted to a fold."""
        key = number, Recipe.of(part).key(part.task)
        if key not in self._parts:
            fold = self._folds[number]
            part.fit(fold.train, fold.validation, seed=self._inner.snapshot.product.training.seed)
            self._parts[key] = part
        return self._parts[key]
