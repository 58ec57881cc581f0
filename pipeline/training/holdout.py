"""Fit all models of a retrain, choose the challenger, and score everything on the held-out issue times."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from pipeline.config import Product
from pipeline.features.snapshot import Snapshot
from pipeline.training.evaluate import Evaluation, evaluate
from pipeline.training.fit import (
    CLIMATOLOGY,
    REQUIRED_BASELINES,
    FittedModel,
    OnEpoch,
    baseline_names,
    choose_challenger,
    fit_model,
    fold_windows,
    ignore_epoch,
    scale_by_climatology,
    unsuitable_reason,
)
from pipeline.training.folds import Folds
from pipeline.version import code_version

log = logging.getLogger(__name__)
OUTAGE_FRACTION = 0.25
"""Fraction of the locations whose input is withheld to test how a challenger copes with an outage."""


@dataclass(frozen=True)
class TrainingOutcome:
    """The fitted models of a retrain with their scores on the held-out issue times."""

    candidates: tuple[FittedModel, ...]
    baselines: tuple[FittedModel, ...]
    """Best on held-out issue times first."""
    challenger: FittedModel
    holdout: dict[str, Evaluation]
    """Scores of every candidate and baseline by name; means of several variables are relative to climatology."""
    outage: Evaluation
    """The challenger with the input of a quarter of the locations withheld."""
    failed: dict[str, str]
    """Candidates that could not be trained and baselines that do not suit the task, each with the reason."""


def training_key(snapshot: Snapshot, folds: Folds) -> str:
    """Return a key that is equal for equal data, product, issue times and code."""
    product = snapshot.product
    parts = {
        "snapshot": snapshot.digest,
        "forecast": product.forecast.model_dump(mode="json"),
        "training": product.training.model_dump(mode="json"),
        "gate": product.gate.model_dump(mode="json"),
        "task": snapshot.task.to_json(),
        "until": folds.holdout[-1].isoformat(),
        "code": code_version(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def fit_all(
    snapshot: Snapshot, folds: Folds, *, on_epoch: OnEpoch = ignore_epoch
) -> tuple[list[FittedModel], dict[str, str]]:
    """Fit every candidate and baseline. Return the fitted models, and the reasons of those that failed by name.

    A candidate may fail in any way. A baseline may only fail to suit the task, e.g. a regression on more locations than
    fit into memory; climatology and persistence may not.

    Raises:
        ModelError: a baseline cannot be fitted, so there is nothing to compare with.
    """
    train, validation = fold_windows(snapshot, folds, "train"), fold_windows(snapshot, folds, "validation")
    fitted, failed = [], {}
    training = snapshot.product.training
    for name in training.candidates:
        try:
            fitted.append(fit_model(name, snapshot, train, validation, on_epoch=on_epoch))
        except Exception as error:  # whatever is wrong with one candidate, the others go on
            log.warning("candidate %s failed: %s", name, error, exc_info=not isinstance(error, ModelError))
            failed[name] = str(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {error}"
    for name in baseline_names(snapshot.product, grid=snapshot.task.grid is not None):
        reason = None
        if name not in REQUIRED_BASELINES:
            reason = unsuitable_reason(name, snapshot.task, training.options.get(name))
        if reason:
            log.warning("baseline %s is left out: %s", name, reason)
            failed[name] = f"left out as a baseline: {reason}"
        else:
            fitted.append(fit_model(name, snapshot, train, validation, on_epoch=on_epoch))
    return fitted, failed


def evaluate_holdout(
    snapshot: Snapshot, folds: Folds, fitted: list[FittedModel], failed: dict[str, str]
) -> TrainingOutcome:
    """Choose the challenger on validation, then score all models on the held-out issue times.

    Raises:
        TrainingError: no candidate was trained.
        ModelError: a fitted model cannot forecast the held-out issue times.
    """
    names, fitted = snapshot.product.training.candidates, scale_by_climatology(fitted)
    candidates = tuple(model for model in fitted if model.name in names)
    challenger = choose_challenger(candidates)
    windows = fold_windows(snapshot, folds, "holdout")
    raw = {model.name: evaluate(model.model, windows) for model in fitted}
    reference = raw.get(CLIMATOLOGY)
    scores = {name: evaluation.relative_to(reference) for name, evaluation in raw.items()}
    baselines = [model for model in fitted if model.name not in names]
    baselines.sort(key=lambda model: scores[model.name].mean_crps)
    withheld = _withheld_locations(len(snapshot.locations), snapshot.product)
    outage = evaluate(challenger.model, windows, withheld=withheld).relative_to(reference)
    return TrainingOutcome(candidates, tuple(baselines), challenger, scores, outage, failed)


def _withheld_locations(count: int, product: Product) -> NDArray[np.bool_]:
    """Choose the locations whose input is withheld, at least one but never all of them: (location,)."""
    number = min(count - 1, max(1, round(OUTAGE_FRACTION * count)))
    chosen = np.random.default_rng(product.training.seed).permutation(count)[:number]
    withheld: NDArray[np.bool_] = np.isin(np.arange(count), chosen)
    return withheld
