"""Choose the challengers of a retrain, and score every model on the held-out issue times."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError, first_line
from pipeline.config import Product
from pipeline.features.snapshot import Snapshot
from pipeline.training.evaluate import Evaluation
from pipeline.training.fit import (
    CLIMATOLOGY,
    REQUIRED_BASELINES,
    FittedModel,
    baseline_names,
    best_on_validation,
    scale_by_climatology,
)
from pipeline.training.fits import Fits
from pipeline.training.folds import Folds
from pipeline.training.recalibration import Recalibrations, score_recalibrated, score_without_locations
from pipeline.version import code_version

log = logging.getLogger(__name__)
OUTAGE_FRACTION = 0.25
"""Fraction of the locations whose input is withheld to test how a challenger copes with an outage."""


@dataclass(frozen=True)
class TrainingOutcome:
    """The fitted models of a retrain with their scores on the held-out issue times."""

    candidates: tuple[FittedModel, ...]
    baselines: tuple[FittedModel, ...]
    """Lowest CRPS on the held-out issue times first; a baseline may be a candidate too."""
    champion: FittedModel | None
    """The champion's recipe, fitted again; None without a champion, or if it could not be fitted."""
    challengers: tuple[FittedModel, ...]
    """The best candidate on validation, then the best baseline; the gate takes the first that passes. May be empty."""
    holdout: dict[str, Evaluation]
    """Scores of every model by name; means of several variables are relative to climatology."""
    outage: dict[str, Evaluation]
    """Those that may be promoted, with the input of a quarter of the locations withheld."""
    by_key: dict[str, FittedModel]
    """Every fitted model by the key of its recipe, with those that are only parts of others."""
    failed: dict[str, str]
    """Models that could not be trained and baselines that do not suit the task, each with the reason."""
    recalibrations: Mapping[str, Recalibrations] = field(default_factory=dict)
    """Corrections of every model's quantiles by name, which `holdout` and `outage` include."""

    @property
    def fitted(self) -> tuple[FittedModel, ...]:
        """Every fitted model once: candidates, then the baselines, then the champion's recipe."""
        champion = (self.champion,) if self.champion else ()
        return tuple({one.name: one for one in (*self.candidates, *self.baselines, *champion)}.values())


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


def evaluate_holdout(snapshot: Snapshot, folds: Folds, fits: Fits) -> TrainingOutcome:
    """Choose the challengers on validation, then score all models on the held-out issue times.

    Raises:
        ModelError: climatology or persistence cannot forecast the held-out issue times.
    """
    fitted = {one.name: one for one in scale_by_climatology(tuple(fits.fitted.values()))}
    failed, raw, recalibrations = dict(fits.failed), {}, {}
    for name, one in list(fitted.items()):
        try:
            raw[name], recalibrations[name] = score_recalibrated(one.models, snapshot, folds)
        except Exception as error:  # as in `fits`
            if name in REQUIRED_BASELINES:
                raise
            failed[name] = f"cannot forecast the held-out issue times: {first_line(error)}"
            log.warning("%s: %s", name, failed[name], exc_info=not isinstance(error, ModelError))
            del fitted[name]
    champion = fitted.get(fits.champion) if fits.champion else None
    candidates = tuple(fitted[name] for name in snapshot.product.training.candidates if name in fitted)
    baselines = [fitted[name] for name in baseline_names(grid=snapshot.task.grid is not None) if name in fitted]
    challengers = _challengers(candidates, baselines)
    reference = raw.get(CLIMATOLOGY)
    scores = {name: evaluation.relative_to(reference) for name, evaluation in raw.items()}
    baselines.sort(key=lambda model: scores[model.name].mean_crps)
    # Without a champion, the best baseline serves if no challenger passes.
    promotable = {one.name: one for one in (*challengers, *(baselines[:1] if champion is None else ()))}
    outage = {
        name: _outage_scores(one, snapshot, folds, recalibrations[name], raw[name]) for name, one in promotable.items()
    }
    return TrainingOutcome(
        candidates=candidates,
        baselines=tuple(baselines),
        champion=champion,
        challengers=challengers,
        holdout=scores,
        outage={name: evaluation.relative_to(reference) for name, evaluation in outage.items()},
        by_key=fits.by_key,
        failed=failed,
        recalibrations=recalibrations,
    )


def _challengers(candidates: Sequence[FittedModel], baselines: Sequence[FittedModel]) -> tuple[FittedModel, ...]:
    """Return the best candidate, then the best baseline unless it is the same, climatology or persistence."""
    first, second = best_on_validation(candidates), best_on_validation(baselines)
    chosen = [first] if first else []
    if second and second is not first and second.name not in REQUIRED_BASELINES:
        chosen.append(second)
    return tuple(chosen)


def _outage_scores(
    fitted: FittedModel, snapshot: Snapshot, folds: Folds, recalibrations: Recalibrations, complete: Evaluation
) -> Evaluation:
    """Return the scores without the input of a quarter of the locations; NaN, which the gate refuses, if that fails."""
    withheld = _withheld_locations(len(snapshot.locations), snapshot.product)
    try:
        return score_without_locations(fitted.models, snapshot, folds, recalibrations, withheld)
    except Exception as error:  # as in `fits`
        log.warning("%s cannot forecast an outage: %s", fitted.name, error, exc_info=not isinstance(error, ModelError))
        crps, missing, covered = (np.full_like(array, np.nan) for array in complete.arrays)
        return Evaluation(crps, missing, covered)


def _withheld_locations(count: int, product: Product) -> NDArray[np.bool_]:
    """Choose the locations whose input is withheld, at least one but never all of them: (location,)."""
    number = min(count - 1, max(1, round(OUTAGE_FRACTION * count)))
    chosen = np.random.default_rng(product.training.seed).permutation(count)[:number]
    withheld: NDArray[np.bool_] = np.isin(np.arange(count), chosen)
    return withheld
