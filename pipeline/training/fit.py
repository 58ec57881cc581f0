"""Fitting candidates and baselines on one snapshot: the models a retrain chooses from."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from models.base import Epoch, Model
from models.build import MODELS, build
from models.errors import ModelError
from pipeline.config import Product
from pipeline.errors import ConfigError, NightcastError
from pipeline.features.snapshot import Snapshot
from pipeline.features.windows import IssueWindows
from pipeline.training.evaluate import Evaluation, evaluate
from pipeline.training.folds import Folds


class Watcher(Protocol):
    """Is told how training goes."""

    def __call__(self, model: str, epoch: Epoch) -> None:
        """Take note of one epoch of one model."""
        ...


def ignore(model: str, epoch: Epoch) -> None:
    """Take no note."""


@dataclass(frozen=True)
class Fitted:
    """One fitted model with its scores on the validation issue times."""

    name: str
    model: Model
    validation: Evaluation
    epochs: tuple[Epoch, ...]
    seconds: float


class TrainingError(NightcastError):
    """No candidate could be trained; the champion stays."""


def windows(snapshot: Snapshot, folds: Folds) -> Callable[[str], IssueWindows]:
    """Return a function from the name of a fold to its windows.

    What a fold learns from was known before the first issue of the next; the held-out truth is the snapshot's.
    """
    borders = {
        "train": folds.validation[0],
        "validation": folds.holdout[0],
        "holdout": snapshot.known_by,
    }

    def cut(fold: str) -> IssueWindows:
        issues = getattr(folds, fold)
        return IssueWindows(snapshot.task, snapshot.cadence, snapshot.frames, issues, truth_at=borders[fold])

    return cut


def check_candidates(product: Product) -> None:
    """Refuse names of models that do not exist.

    Raises:
        ConfigError: training.candidates names an unknown model.
    """
    for name in product.training.candidates:
        if name not in MODELS:
            raise ConfigError(
                product.name, "training.candidates", f"unknown model '{name}'", f"known: {', '.join(MODELS)}"
            )


def baselines(product: Product) -> tuple[str, ...]:
    """Return the baselines that a challenger is set against: all that are not themselves candidates."""
    return tuple(
        name for name, entry in MODELS.items() if entry.is_baseline and name not in product.training.candidates
    )


def fit_one(
    name: str, snapshot: Snapshot, train: IssueWindows, validation: IssueWindows, *, watch: Watcher = ignore
) -> Fitted:
    """Fit one model and score it on the validation issue times.

    Raises:
        ModelError: it cannot be built, does not converge, or forecasts something that is no number.
    """
    training = snapshot.product.training
    started = time.monotonic()
    epochs: list[Epoch] = []

    def note(epoch: Epoch) -> None:
        epochs.append(epoch)
        watch(name, epoch)

    model = build(name, snapshot.task, **training.options.get(name, {}))
    budget = training.budget.total_seconds()
    model.fit(train, validation, seed=training.seed, budget_seconds=budget, progress=note)
    scored = evaluate(model, validation)
    if not np.isfinite(scored.mean_crps):
        raise ModelError(f"{name}: its validation score is not a finite number")
    return Fitted(name, model, scored, tuple(epochs), time.monotonic() - started)


def choose(candidates: list[Fitted]) -> Fitted:
    """Return the candidate with the lowest CRPS on validation: the challenger.

    Raises:
        TrainingError: there is none.
    """
    if not candidates:
        raise TrainingError("no candidate could be trained; see the log of the run")
    return min(candidates, key=lambda fitted: fitted.validation.mean_crps)
