"""Fitting candidates and baselines on one snapshot: the models a retrain chooses from."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

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
from pipeline.training.folds import Folds

CLIMATOLOGY = "climatology"
ALWAYS = (CLIMATOLOGY, "persistence")
"""Baselines that suit every task: without them nothing is judged."""


class Watcher(Protocol):
    """Is told how training goes."""

    def __call__(self, model: str, epoch: Epoch) -> None:
        """Take note of one epoch of one model."""
        ...


def ignore(model: str, epoch: Epoch) -> None:
    """Take no note."""


@dataclass(frozen=True)
class Fitted:
    """One fitted model with its mean scores on the validation issue times."""

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
        return snapshot.windows(issues, truth_at=borders[fold])

    return cut


def check_candidates(product: Product, task: Task) -> dict[str, str]:
    """Return the candidates that cannot be built for this product with any options, and why; the others stand.

    Raises:
        ConfigError: the product names an unknown model, gives one options that it does not take or that nothing
            would use, or names no candidate that can be built.
    """
    training = product.training
    for field, names in (("candidates", training.candidates), ("options", tuple(training.options))):
        for name in names:
            if name not in MODELS:
                near = difflib.get_close_matches(name, MODELS, n=1)
                remedy = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(MODELS)}"
                raise ConfigError(product.name, f"training.{field}", f"unknown model '{name}'", remedy)
    unfit: dict[str, str] = {}
    used = {*training.candidates, *baselines(product, grid=task.grid is not None)}
    for name in training.options:
        if name not in used:
            problem = "it is neither among the candidates nor a baseline, so that nothing uses them"
            remedy = f"add {name} to training.candidates; options of a member go below blend, as {name}.option"
            raise ConfigError(product.name, f"training.options.{name}", problem, remedy)
    for name in dict.fromkeys((*training.candidates, *training.options)):
        problem = misfit(name, task, product)
        if problem and training.options.get(name) and not misfit(name, task):
            raise ConfigError(product.name, f"training.options.{name}", problem)
        if problem and name in training.candidates:
            unfit[name] = problem
    if len(unfit) == len(set(training.candidates)):
        problem = "; ".join(unfit.values()) or "empty"
        raise ConfigError(product.name, "training.candidates", problem, "name another, e.g. damped-anomaly")
    return unfit


def misfit(name: str, task: Task, product: Product | None = None) -> str:
    """Return why a model cannot be built, with the options of a product or with none; empty where it can."""
    try:
        build(name, task, **(product.training.options.get(name, {}) if product else {}))
    except ModelError as error:
        return str(error)
    return ""


def baselines(product: Product, *, grid: bool) -> tuple[str, ...]:
    """Return the baselines that a challenger is set against: all that are not themselves candidates.

    Some are set against it only where the locations are the cells of a `grid`.
    """
    return tuple(
        name
        for name, entry in MODELS.items()
        if entry.is_baseline and (grid or not entry.grids_only) and name not in product.training.candidates
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
    scored = evaluate(model, validation).summary()
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


def in_units_of_climatology(fitted: list[Fitted]) -> list[Fitted]:
    """Return the models with validation scores whose means are fair to several variables; of one they stay."""
    reference = next((one.validation for one in fitted if one.name == CLIMATOLOGY), None)
    return [replace(one, validation=one.validation.relative_to(reference)) for one in fitted]
