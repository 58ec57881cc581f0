"""From a snapshot to a challenger and the trial it stands: what a retrain computes, before anything is recorded."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass

import numpy as np

from models.errors import ModelError
from pipeline.config import Product
from pipeline.features.snapshot import Snapshot
from pipeline.training.evaluate import Evaluation, evaluate
from pipeline.training.fit import (
    ALWAYS,
    CLIMATOLOGY,
    Fitted,
    Watcher,
    baselines,
    choose,
    fit_one,
    ignore,
    in_units_of_climatology,
    misfit,
    windows,
)
from pipeline.training.folds import Folds
from pipeline.version import code_version

log = logging.getLogger(__name__)
OUTAGE_SHARE = 0.25


@dataclass(frozen=True)
class Trained:
    """Everything fitted in one retrain, scored on the held-out issue times."""

    candidates: tuple[Fitted, ...]
    baselines: tuple[Fitted, ...]
    """Best on held-out issue times first."""
    challenger: Fitted
    holdout: dict[str, Evaluation]
    """By model name: every candidate and every baseline; of several variables in units of climatology."""
    outage: Evaluation
    """The challenger with a quarter of the locations silent."""
    failed: dict[str, str]
    """Candidates that could not be trained and baselines that do not suit the task, and why."""


def training_key(snapshot: Snapshot, folds: Folds) -> str:
    """Return the identity of a retrain: equal data, product, issue times and code make an equal key."""
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


def fit_all(snapshot: Snapshot, folds: Folds, *, watch: Watcher = ignore) -> tuple[list[Fitted], dict[str, str]]:
    """Fit every candidate and every baseline; return what was fitted and what was not, with the reason.

    A candidate may fail in any way. A baseline may only be one that cannot be built for the task, such as a regression
    on more locations than fit into memory; climatology and persistence always can.

    Raises:
        ModelError: a baseline cannot be fitted, so that nothing could be compared.
    """
    cut = windows(snapshot, folds)
    train, validation = cut("train"), cut("validation")
    fitted, failed = [], {}
    for name in snapshot.product.training.candidates:
        try:
            fitted.append(fit_one(name, snapshot, train, validation, watch=watch))
        except Exception as error:  # whatever is wrong with one candidate, the others go on
            log.warning("candidate %s failed: %s", name, error, exc_info=not isinstance(error, ModelError))
            failed[name] = str(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {error}"
    for name in baselines(snapshot.product, grid=snapshot.task.grid is not None):
        problem = "" if name in ALWAYS else misfit(name, snapshot.task, snapshot.product)
        if problem:
            log.warning("baseline %s is left out: %s", name, problem)
            failed[name] = f"left out as a baseline: {problem}"
        else:
            fitted.append(fit_one(name, snapshot, train, validation, watch=watch))
    return fitted, failed


def evaluate_holdout(snapshot: Snapshot, folds: Folds, fitted: list[Fitted], failed: dict[str, str]) -> Trained:
    """Choose the challenger on validation, then score all on the held-out issue times, once.

    Raises:
        TrainingError: no candidate was trained.
        ModelError: a fitted model cannot forecast the held-out issue times.
    """
    names, fitted = snapshot.product.training.candidates, in_units_of_climatology(fitted)
    candidates = tuple(one for one in fitted if one.name in names)
    challenger = choose(list(candidates))
    holdout = windows(snapshot, folds)("holdout")
    raw = {one.name: evaluate(one.model, holdout) for one in fitted}
    reference = raw.get(CLIMATOLOGY)
    scores = {name: one.relative_to(reference) for name, one in raw.items()}
    others = sorted((one for one in fitted if one.name not in names), key=lambda one: scores[one.name].mean_crps)
    outage = evaluate(challenger.model, holdout, silent=_silent(len(snapshot.locations), snapshot.product))
    return Trained(candidates, tuple(others), challenger, scores, outage.relative_to(reference), failed)


def _silent(count: int, product: Product) -> np.ndarray:
    wanted = min(count - 1, max(1, round(OUTAGE_SHARE * count)))  # a single station cannot do without itself
    chosen = np.random.default_rng(product.training.seed).permutation(count)[:wanted]
    silent: np.ndarray = np.isin(np.arange(count), chosen)
    return silent
