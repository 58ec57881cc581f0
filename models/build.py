"""From a name and options to a model: the one table of all models."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

from models.base import Model
from models.errors import ModelError
from models.task import Task


class Entry(NamedTuple):
    """One row of the table; the class is imported on first use, so that listing models needs no torch.

    Attributes:
        target: where the class is, as `module:class`.
        description: what it does, in one line.
        is_baseline: whether the gate compares every challenger with it.
    """

    target: str
    description: str
    is_baseline: bool

    def load(self) -> type[Model]:
        """The class."""
        module, name = self.target.split(":")
        found: type[Model] = getattr(import_module(module), name)
        return found


MODELS: dict[str, Entry] = {
    "persistence": Entry("models.baselines.plain:Persistence", "the last known value stays", True),
    "climatology": Entry("models.baselines.plain:Climatology", "what the calendar says: year, day and week", True),
    "damped-anomaly": Entry("models.baselines.plain:DampedAnomaly", "the last anomaly, fading with lead", True),
    "ridge-var": Entry("models.baselines.ridge:RidgeVar", "ridge regression on the last frames of all locations", True),
    "attention-convlstm": Entry(
        "models.zoo.flagship:AttentionConvLSTM",
        "ridge-var plus what a set-convolution ConvLSTM, with or without attention, can add",
        False,
    ),
}


def build(name: str, task: Task, **options: Any) -> Model:
    """An unfitted model.

    Raises:
        ModelError: no model has this name, or it does not take these options.
    """
    if name not in MODELS:
        raise ModelError(f"unknown model {name!r}; there are {', '.join(MODELS)}")
    try:
        return MODELS[name].load()(task, **options)
    except TypeError as error:
        raise ModelError(f"{name}: {error}") from error
