"""Recipes: what the gate judges, as opposed to the weights of one night."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from models.base import Model
from models.catalogue import build
from models.errors import ModelError
from models.task import Task


@dataclass(frozen=True)
class Recipe:
    """A model with its options: what the gate judges. Its weights are fitted anew every night."""

    model: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Model) -> Recipe:
        """Return the recipe of a model, with all its options."""
        return cls(model.name, model.options())

    def key(self, task: Task) -> str:
        """Return a short digest that is equal for equal recipes of equal tasks; `options` must be complete."""
        parts = {"model": self.model, "options": self.options, "task": task.to_json()}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]

    def build(self, task: Task) -> Model:
        """Return an unfitted model.

        Raises:
            ModelError: the model or an option is unknown, or the model does not suit the task.
        """
        return build(self.model, task, **self.options)


@dataclass(frozen=True)
class Champion:
    """The registry version in service."""

    version: int
    recipe: Recipe | None = None
    """None if its bundle cannot be read; the gate then refuses every challenger."""
    serving: Model | None = None
    """The fit that makes its forecasts."""
    judged: Model | None = None
    """The fit that the gate judged, which has not seen the newest data."""
    judged_until: datetime | None = None
    """Time by which everything that the judged fit has seen was known."""
    data_until: datetime | None = None
    """Time by which everything that the serving fit has seen was known."""
    warm_starts: int = 0
    """Number of refreshes in a row that continued from the fit before, up to the one that serves."""

    @property
    def name(self) -> str:
        """What the gate calls it."""
        return f"champion version {self.version}"


def unsuitable_reason(recipe: Recipe, task: Task) -> str | None:
    """Return why a model cannot be built for a task, or None if it can."""
    try:
        recipe.build(task)
    except ModelError as error:
        return str(error)
    return None
