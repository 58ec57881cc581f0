"""The plan of a backtest: its origins with their issue times, its models, and a key for the forecasts of each."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from models.catalogue import MODELS
from pipeline.errors import UsageError
from pipeline.features.digests import digests_known_by
from pipeline.features.snapshot import Snapshot
from pipeline.times import Cadence, stamp
from pipeline.training.fit import baseline_names, check_candidates
from pipeline.training.recipe import Recipe
from pipeline.version import code_version

FORMAT = 2
"""Raised when forecasts of earlier releases must not be used any more."""


@dataclass(frozen=True)
class Origin:
    """A time at which the models are trained, and the issue times that they forecast: all up to the next origin."""

    number: int
    """From 1."""
    at: datetime
    issues: tuple[datetime, ...]


@dataclass(frozen=True)
class Piece:
    """The forecasts of one model from one origin."""

    origin: Origin
    model: str
    recipe: Recipe
    key: str
    """Equal for equal data, settings, options and code."""

    @property
    def name(self) -> str:
        """Name in the store."""
        return f"{stamp(self.origin.at)}/{self.model}-{self.key}"


def find_origins(cadence: Cadence, since: datetime, until: datetime, every: timedelta) -> tuple[Origin, ...]:
    """Return an origin at `since` and at every `every` from there that has issue times, none of them after `until`."""
    found: list[Origin] = []
    at = since
    while at <= until:
        after = at + every
        issues = tuple(issue for issue in cadence.issues(at, min(after, until)) if issue < after)
        if issues:
            found.append(Origin(len(found) + 1, at, issues))
        at = after
    return tuple(found)


def choose_recipes(snapshot: Snapshot, models: Sequence[str]) -> dict[str, Recipe]:
    """Return the recipes of the named models by name, with the product's options; by default candidates and baselines.

    Raises:
        UsageError: there is no such model.
        ConfigError: the product's training settings are wrong.
    """
    training = snapshot.product.training
    if not models:
        check_candidates(snapshot.product, snapshot.task)
        models = (*training.candidates, *baseline_names(grid=snapshot.task.grid is not None))
    for name in models:
        if name not in MODELS:
            near = difflib.get_close_matches(name, MODELS, n=1)
            remedy = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(MODELS)}"
            raise UsageError(f"models: unknown model '{name}'; {remedy}")
    return {name: Recipe(name, training.options.get(name, {})) for name in models}


def plan_pieces(
    snapshot: Snapshot, origins: Sequence[Origin], recipes: Mapping[str, Recipe]
) -> tuple[tuple[Piece, ...], ...]:
    """Return the pieces of each origin, one for each model.

    Their keys depend on what was known at the last issue time of the origin, and not on later data.
    """
    digests = digests_known_by(snapshot, [origin.issues[-1] for origin in origins])
    return tuple(
        tuple(
            Piece(origin, name, recipe, _key({**facts, "model": recipe.model, "options": dict(recipe.options)}))
            for name, recipe in recipes.items()
        )
        for origin, facts in zip(origins, _facts(snapshot, origins, digests), strict=True)
    )


def _facts(snapshot: Snapshot, origins: Sequence[Origin], digests: Sequence[str]) -> Iterator[dict[str, Any]]:
    product, cadence = snapshot.product, snapshot.cadence
    shared = {
        "format": FORMAT,
        "task": snapshot.task.to_json(),
        "forecast": product.forecast.model_dump(mode="json"),
        "training": product.training.model_dump(mode="json", include={"window", "validation", "budget", "seed"}),
        "holdout": product.gate.issues,
        "cadence": [cadence.delay.total_seconds(), cadence.cron, cadence.time_zone],
        "code": code_version(),
    }
    for origin, digest in zip(origins, digests, strict=True):
        issues = [issue.isoformat() for issue in origin.issues]
        yield {**shared, "data": digest, "origin": origin.at.isoformat(), "issues": issues}


def _key(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
