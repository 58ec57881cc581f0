"""Fit candidates and baselines on a snapshot."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from models.base import Epoch, Model
from models.catalogue import MODELS, build
from models.errors import ModelError
from models.task import Task
from pipeline.config import Product
from pipeline.errors import ConfigError, NightcastError
from pipeline.features.snapshot import Snapshot
from pipeline.features.windows import IssueWindows
from pipeline.training.evaluate import Evaluation, evaluate
from pipeline.training.folds import Fold, Folds

CLIMATOLOGY = "climatology"
REQUIRED_BASELINES = (CLIMATOLOGY, "persistence")
"""Baselines that can be built for every task. A retrain fails without them."""

OnEpoch = Callable[[str, Epoch], None]
"""Called with the name of a model after each epoch of its training."""


def ignore_epoch(model: str, epoch: Epoch) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class FittedModel:
    """A fitted model with its mean scores on the validation issue times."""

    name: str
    model: Model
    validation: Evaluation
    epochs: tuple[Epoch, ...]
    seconds: float


class TrainingError(NightcastError):
    """No candidate could be trained; the champion stays in service."""


def fold_windows(snapshot: Snapshot, folds: Folds, fold: Fold) -> IssueWindows:
    """Return the windows of one fold.

    The targets of a fold are as known at the first issue time of the next fold, those of the held-out fold as known
    at the snapshot.
    """
    known_by = {
        "train": folds.validation[0],
        "validation": folds.holdout[0],
        "holdout": snapshot.known_by,
    }
    issues: tuple[datetime, ...] = getattr(folds, fold)
    return snapshot.windows(issues, truth_at=known_by[fold])


def check_candidates(product: Product, task: Task) -> dict[str, str]:
    """Return the candidates that do not suit the task whatever their options, each with the reason.

    Raises:
        ConfigError: the product names an unknown model, gives a model wrong options, gives options to a model that is
            not used, or has no candidate that suits the task.
    """
    training = product.training
    for field, names in (("candidates", training.candidates), ("options", tuple(training.options))):
        for name in names:
            if name not in MODELS:
                near = difflib.get_close_matches(name, MODELS, n=1)
                remedy = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(MODELS)}"
                raise ConfigError(product.name, f"training.{field}", f"unknown model '{name}'", remedy)
    used = {*training.candidates, *baseline_names(product, grid=task.grid is not None)}
    for name in training.options:
        if name not in used:
            problem = "the model is neither a candidate nor a baseline, so its options have no effect"
            remedy = f"add {name} to training.candidates; options of a member go below blend, as {name}.option"
            raise ConfigError(product.name, f"training.options.{name}", problem, remedy)
    unsuitable: dict[str, str] = {}
    for name in dict.fromkeys((*training.candidates, *training.options)):
        reason = unsuitable_reason(name, task, training.options.get(name))
        if reason and training.options.get(name) and not unsuitable_reason(name, task):
            raise ConfigError(product.name, f"training.options.{name}", reason)
        if reason and name in training.candidates:
            unsuitable[name] = reason
    if len(unsuitable) == len(set(training.candidates)):
        problem = "; ".join(unsuitable.values()) or "empty"
        raise ConfigError(product.name, "training.candidates", problem, "name another, e.g. damped-anomaly")
    return unsuitable


def unsuitable_reason(name: str, task: Task, options: Mapping[str, Any] | None = None) -> str | None:
    """Return why a model cannot be built for a task, or None if it can."""
    try:
        build(name, task, **(options or {}))
    except ModelError as error:
        return str(error)
    return None


def baseline_names(product: Product, *, grid: bool) -> tuple[str, ...]:
    """Return the baselines that a challenger is compared with: all that are not candidates themselves.

    Some are for grids only.
    """
    return tuple(
        name
        for name, entry in MODELS.items()
        if entry.is_baseline and (grid or not entry.grids_only) and name not in product.training.candidates
    )


def fit_model(
    name: str, snapshot: Snapshot, train: IssueWindows, validation: IssueWindows, *, on_epoch: OnEpoch = ignore_epoch
) -> FittedModel:
    """Fit a model and score it on the validation issue times.

    Raises:
        ModelError: it cannot be built, does not converge, or its validation score is not finite.
    """
    training = snapshot.product.training
    started = time.monotonic()
    epochs: list[Epoch] = []

    def record_epoch(epoch: Epoch) -> None:
        epochs.append(epoch)
        on_epoch(name, epoch)

    model = build(name, snapshot.task, **training.options.get(name, {}))
    budget = training.budget.total_seconds()
    model.fit(train, validation, seed=training.seed, budget_seconds=budget, progress=record_epoch)
    scores = evaluate(model, validation).summary()
    if not np.isfinite(scores.mean_crps):
        raise ModelError(f"{name}: its validation score is not a finite number")
    return FittedModel(name, model, scores, tuple(epochs), time.monotonic() - started)


def choose_challenger(candidates: Sequence[FittedModel]) -> FittedModel:
    """Return the candidate with the lowest CRPS on validation.

    Raises:
        TrainingError: there are no candidates.
    """
    if not candidates:
        raise TrainingError("no candidate could be trained; see the log of the run")
    return min(candidates, key=lambda fitted: fitted.validation.mean_crps)


def scale_by_climatology(fitted: Sequence[FittedModel]) -> list[FittedModel]:
    """Return the models with the means of several variables relative to climatology; one variable keeps its unit."""
    reference = next((model.validation for model in fitted if model.name == CLIMATOLOGY), None)
    return [replace(model, validation=model.validation.relative_to(reference)) for model in fitted]
