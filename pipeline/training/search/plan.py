"""What a search is about: the recipe, its space, and the keys under which trials are comparable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from models.catalogue import MODELS
from models.search_space import SearchSpace
from pipeline.errors import NoDataError, UsageError
from pipeline.features.digests import digests_known_by
from pipeline.features.snapshot import Snapshot
from pipeline.training.backtest.plan import choose_recipes
from pipeline.training.budget import candidate_share
from pipeline.training.folds import SMALLEST_TRAINING_SET, Folds
from pipeline.training.inner_folds import InnerFolds, split_inner
from pipeline.training.recipe import unsuitable_reason
from pipeline.version import code_version


@dataclass(frozen=True)
class SearchPlan:
    """A recipe, the options to search, and the folds to score them on."""

    model: str
    given: Mapping[str, Any]
    """Its options in the product file."""
    present: Mapping[str, Any]
    """The present value of each option of the space; None where the model chooses it."""
    space: SearchSpace
    inner: InnerFolds
    fit_seconds: float
    """Time limit of each fit of a network, as in a retrain, about."""
    study: str
    """Digest of the recipe, the task and the space: equal plans of different nights continue one study."""
    data: str
    """Digest of the data, the folds and the code: only trials with the same one are compared."""


def plan_search(snapshot: Snapshot, folds: Folds, model: str) -> SearchPlan:
    """Return the plan of a search for options of a model.

    Raises:
        UsageError: there is no such model, its present options do not suit the task, or none of them can be searched.
        NoDataError: too few issue times precede the held-out period.
    """
    recipe, task = choose_recipes(snapshot, [model])[model], snapshot.task
    if reason := unsuitable_reason(recipe, task):
        raise UsageError(f"{snapshot.product.name}: {reason}")
    space = MODELS[model].load().search_space(task)
    if not space:
        raise UsageError(f"{model} has no options to search")
    inner = split_inner(snapshot, folds)
    if not MODELS[model].is_baseline and inner.smallest_training_set < SMALLEST_TRAINING_SET:
        raise NoDataError(
            f"{snapshot.product.name}: {model} needs {SMALLEST_TRAINING_SET} issue times to train on, and an inner "
            f"fold has {inner.smallest_training_set}; load more history"
        )
    resolved, training = recipe.build(task).options(), snapshot.product.training
    return SearchPlan(
        model=model,
        given=recipe.options,
        present={name: resolved[name] for name in space},
        space=space,
        inner=inner,
        fit_seconds=candidate_share(training.budget.total_seconds(), len(training.candidates), folds)
        / len(folds.folds),
        study=_digest(
            {
                "model": model,
                "options": resolved,
                "task": task.to_json(),
                "space": {name: [type(allowed).__name__, asdict(allowed)] for name, allowed in space.items()},
                "training": training.model_dump(mode="json", include={"window", "budget", "candidates", "seed"}),
            }
        ),
        data=_digest(
            {
                "known": digests_known_by(inner.snapshot, [inner.snapshot.known_by]),
                "folds": [
                    [[issue.isoformat() for issue in part] for part in (one.train, one.validation, one.holdout)]
                    for one in inner.folds
                ],
                "code": code_version(),
            }
        ),
    )


def _digest(parts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
