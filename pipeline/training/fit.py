"""Fit candidates and baselines on a snapshot."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.base import Epoch, Model
from models.catalogue import MODELS
from models.errors import ModelError
from models.task import Task
from pipeline.config import Product
from pipeline.errors import ConfigError, NightcastError
from pipeline.features.snapshot import Snapshot
from pipeline.training.cost import Cost
from pipeline.training.evaluate import Evaluation, concatenate, evaluate
from pipeline.training.folds import Folds
from pipeline.training.recipe import Recipe, unsuitable_reason

CLIMATOLOGY = "climatology"
REQUIRED_BASELINES = (CLIMATOLOGY, "persistence")
"""Baselines that can be built for every task. A retrain fails without them."""

OnEpoch = Callable[[str, Epoch], None]
"""Called with the name of a model after each epoch of its training."""


def ignore_epoch(model: str, epoch: Epoch) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class FittedModel:
    """A recipe fitted on every fold, with its mean scores on the validation issue times of all folds."""

    name: str
    """Name of the model; of a champion that the product file does not list as it is, also its version."""
    models: tuple[Model, ...]
    """One per fold, in order of time."""
    validation: Evaluation
    epochs: tuple[Epoch, ...]
    """Of the newest fold."""
    cost: Cost
    size: float = 1.0
    """Fraction of the training issue times that it was fitted to, the newest ones."""

    @property
    def model(self) -> Model:
        """The fit on the newest fold."""
        return self.models[-1]

    @property
    def key(self) -> str:
        """Digest of the recipe and the task."""
        return self.recipe.key(self.model.task)

    @property
    def recipe(self) -> Recipe:
        """The model with all its options."""
        return Recipe.of(self.model)


class TrainingError(NightcastError):
    """The present options of a model cannot be fitted or scored, so a search has nothing to compare with."""


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
    used = {*training.candidates, *baseline_names(grid=task.grid is not None)}
    for name in training.options:
        if name not in used:
            problem = "the model is neither a candidate nor a baseline, so its options have no effect"
            remedy = f"add {name} to training.candidates; options of a member go below blend, as {name}.option"
            raise ConfigError(product.name, f"training.options.{name}", problem, remedy)
    unsuitable: dict[str, str] = {}
    for name in dict.fromkeys((*training.candidates, *training.options)):
        reason = unsuitable_reason(Recipe(name, training.options.get(name, {})), task)
        if reason and training.options.get(name) and not unsuitable_reason(Recipe(name), task):
            raise ConfigError(product.name, f"training.options.{name}", reason)
        if reason and name in training.candidates:
            unsuitable[name] = reason
    if len(unsuitable) == len(set(training.candidates)):
        problem = "; ".join(unsuitable.values()) or "empty"
        raise ConfigError(product.name, "training.candidates", problem, "name another, e.g. damped-anomaly")
    return unsuitable


def baseline_names(*, grid: bool) -> tuple[str, ...]:
    """Return the baselines, which every challenger is compared with; some are for grids only."""
    return tuple(name for name, entry in MODELS.items() if entry.is_baseline and (grid or not entry.grids_only))


def fit_model(
    name: str,
    recipe: Recipe,
    snapshot: Snapshot,
    folds: Folds,
    *,
    parts: Mapping[str, FittedModel] | None = None,
    seconds: float | None = None,
    size: float = 1.0,
    on_epoch: OnEpoch = ignore_epoch,
) -> FittedModel:
    """Fit a recipe on every fold and score it on the validation issue times.

    Args:
        name: What to call it.
        recipe: The model with its options.
        snapshot: The data.
        folds: The issue times.
        parts: Fitted parts of the model by role; by default it fits its own.
        seconds: Time for the fit on one fold, for a model that keeps to it.
        size: Fraction of the training issue times to fit to, the newest ones.
        on_epoch: Called after each epoch.

    Raises:
        ModelError: it cannot be built, does not converge, or its validation score is not finite.
    """
    training = snapshot.product.training
    models, scores = [], []
    epochs: list[Epoch] = []
    fitting = scoring = 0.0
    for number, fold in enumerate(folds.folds):
        train, validation = fold.windows(snapshot, "train", size=size), fold.windows(snapshot, "validation")
        label = name if len(folds.folds) == 1 else f"{name}, fold {number + 1} of {len(folds.folds)}"
        epochs = []

        def record_epoch(epoch: Epoch, *, label: str = label, epochs: list[Epoch] = epochs) -> None:
            epochs.append(epoch)
            on_epoch(label, epoch)

        model = recipe.build(snapshot.task)
        started = time.monotonic()
        model.fit(
            train,
            validation,
            seed=training.seed,
            budget_seconds=seconds,
            parts=None if parts is None else {role: part.models[number] for role, part in parts.items()},
            progress=record_epoch,
        )
        fitting = time.monotonic() - started
        models.append(model)
        started = time.monotonic()
        scores.append(evaluate(model, validation).summary())
        scoring += time.monotonic() - started
    pooled = concatenate(scores)
    if not np.isfinite(pooled.mean_crps):
        raise ModelError(f"{name}: its validation score is not a finite number")
    cost = Cost(fitting, scoring / folds.validated)
    return FittedModel(name, tuple(models), pooled, tuple(epochs), cost, size)


def best_on_validation(fitted: Sequence[FittedModel]) -> FittedModel | None:
    """Return the model with the lowest CRPS on validation; None if there are none."""
    return min(fitted, key=lambda one: one.validation.mean_crps, default=None)


def scale_by_climatology(fitted: Sequence[FittedModel]) -> list[FittedModel]:
    """Return the models with the means of several variables relative to climatology; one variable keeps its unit."""
    reference = next((model.validation for model in fitted if model.name == CLIMATOLOGY), None)
    return [replace(model, validation=model.validation.relative_to(reference)) for model in fitted]
