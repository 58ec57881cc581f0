"""Fit a judged recipe again on everything known, and check the result before it serves.

The gate judges a fit that has not seen the newest data; what serves should have. The refit takes from the judged fit
what only unseen data can tell: the widths of its intervals, the weights of corrections, the length of training.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from models.base import Model
from models.errors import ModelError, OutOfTimeError, first_line
from pipeline.config.product import Gate
from pipeline.features.snapshot import Snapshot
from pipeline.features.windows import IssueWindows
from pipeline.training.budget import CHECKED, refit_ratio
from pipeline.training.evaluate import Evaluation, concatenate, evaluate, forecast_checked, score
from pipeline.training.fit import FittedModel, OnEpoch, ignore_epoch
from pipeline.training.folds import Folds, recent
from pipeline.training.recipe import Recipe
from pipeline.training.verdict import Objection

log = logging.getLogger(__name__)

LARGEST_DIFFERENCE = 1.0
"""Largest mean difference of the medians, in units of the mean CRPS of the judged fit."""


@dataclass(frozen=True)
class Refit:
    """A recipe fitted on everything known, or why that failed."""

    model: Model | None
    objections: tuple[Objection, ...]
    continued: bool = False
    """Whether it continued training from a former fit."""

    @property
    def unfinished(self) -> bool:
        """Whether there was too little time for it."""
        return any(one.kind == "refit_unfinished" for one in self.objections)


class Refitter:
    """Fits recipes again on everything known, each once, and parts before the models they belong to."""

    def __init__(
        self,
        snapshot: Snapshot,
        folds: Folds,
        by_key: Mapping[str, FittedModel],
        *,
        on_epoch: OnEpoch = ignore_epoch,
    ) -> None:
        """`by_key` are the judged fits by the key of their recipe; without its parts a model fits its own."""
        self._snapshot, self._folds, self._judged, self._on_epoch = snapshot, folds, by_key, on_epoch
        self._refits: dict[str, Model] = {}

    def refit(self, fitted: FittedModel, *, start: Model | None = None, seconds: float | None = None) -> Model:
        """Return the recipe of a judged fit, fitted on every matured issue time of the training window.

        Args:
            fitted: The judged fit.
            start: A former fit of the same recipe; a network continues from its weights.
            seconds: Time for it and its parts, as far as they keep to it.

        Raises:
            ModelError: the model cannot be fitted.
            OutOfTimeError: it, or a part, cannot be trained for its planned length in time.
        """
        start = start if _continues(start, fitted.model) else None
        if start is None and fitted.key in self._refits:
            return self._refits[fitted.key]
        deadline = None if seconds is None else time.monotonic() + seconds
        training, model = self._snapshot.product.training, fitted.recipe.build(self._snapshot.task)
        judged = {role: self._judged.get(Recipe.of(part).key(part.task)) for role, part in fitted.model.parts().items()}
        known = {role: part for role, part in judged.items() if part is not None}
        former = {} if start is None else start.parts()
        parts = {}
        for role, part in known.items():  # each may take all that is left: what it needs is known from the judged fit
            left = None if deadline is None else deadline - time.monotonic()
            parts[role] = self.refit(part, start=former.get(role), seconds=left)
        issues = recent(self._folds.matured, training.window)
        issues = issues[-max(1, round(fitted.size * len(issues))) :]
        model.refit(
            fitted.model,
            self._snapshot.windows(issues, truth_at=self._snapshot.known_by),
            start=start,
            seed=training.seed,
            budget_seconds=None if deadline is None else max(0.0, deadline - time.monotonic()),
            parts=parts if len(parts) == len(judged) else None,
            progress=lambda epoch: self._on_epoch(f"{fitted.name} on all data", epoch),
        )
        if start is None:
            self._refits[fitted.key] = model
        return model

    def refit_checked(self, fitted: FittedModel, *, start: Model | None = None, seconds: float | None = None) -> Refit:
        """Return the refit, with the objections to it. Whatever fails in it is an objection and no error.

        One that continued from `start` and failed its checks is made again from scratch, because it may have failed for
        the weights of `start`. Where the time is too short for that, its objections stand.
        """
        started = time.monotonic()
        found = self._check(fitted, start, seconds)
        if not found.continued or not found.objections or found.unfinished:
            return found
        left = None if seconds is None else seconds - (time.monotonic() - started)
        if left is not None and left < fitted.cost.fit * refit_ratio(self._folds):
            return found
        log.warning("%s is fitted on all data again, from scratch", fitted.name)
        again = self._check(fitted, None, left)
        return found if again.unfinished else again

    def _check(self, fitted: FittedModel, start: Model | None, seconds: float | None) -> Refit:
        continued = _continues(start, fitted.model)
        try:
            model = self.refit(fitted, start=start, seconds=seconds)
            issues = self._folds.newest.holdout[-CHECKED:]
            windows = self._snapshot.windows(issues, truth_at=self._snapshot.known_by)
            objections = tuple(_objections(model, fitted.model, windows, self._snapshot.product.gate))
            return Refit(model, objections, continued)
        except OutOfTimeError as error:
            log.warning("%s cannot be fitted on all data: %s", fitted.name, error)
            return Refit(None, (Objection(kind="refit_unfinished", completed=error.completed),), continued)
        except Exception as error:  # memory, a device, a library: the judged fit serves, and the ledger says why
            log.warning(
                "%s cannot be fitted on all data: %s", fitted.name, error, exc_info=not isinstance(error, ModelError)
            )
            text = first_line(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {error}"
            return Refit(None, (Objection(kind="refit_failed", text=text),), continued)


def _objections(model: Model, judged: Model, windows: IssueWindows, rules: Gate) -> Iterator[Objection]:
    levels = windows.task.quantile_levels
    # What is not a number would be left out of the means.
    ours = concatenate([score(one.quantiles, one.truth, levels) for one in forecast_checked(model, windows)])
    theirs = evaluate(judged, windows)
    difference = _mean_ratio(np.abs(ours.error - theirs.error), theirs)
    if not difference <= LARGEST_DIFFERENCE:
        yield Objection(kind="refit_differs", difference=difference)
    skill = 1 - _mean_ratio(ours.crps, theirs)
    if not skill >= -rules.refresh_margin:
        yield Objection(kind="refit_worse", skill=skill)


def _mean_ratio(values: NDArray[np.floating], reference: Evaluation) -> float:
    """Return the mean of values (issue, lead, target, location) over the mean CRPS, variable by variable."""
    ratios = []
    for target in range(values.shape[2]):
        if np.isfinite(reference.crps[:, :, target]).any():
            mean, crps = np.nanmean(values[:, :, target]), np.nanmean(reference.crps[:, :, target])
            ratios.append(1.0 if mean == crps else mean / crps)  # both may be 0, in a long dry spell
    return float(np.mean(ratios)) if ratios else float("nan")


def _continues(start: Model | None, model: Model) -> TypeGuard[Model]:
    """Return whether a refit of a model continues training from a former fit: it must be, or contain, a network."""
    if start is None or not _is_trained(model):
        return False
    return start.name == model.name and start.task == model.task and start.options() == model.options()


def _is_trained(model: Model) -> bool:
    return model.keeps_to_budget or any(_is_trained(part) for part in model.parts().values())
