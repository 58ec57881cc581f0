"""What can go wrong inside `models`; each error carries the facts that explain it."""

from __future__ import annotations

from pathlib import Path


class ModelError(Exception):
    """A model was asked for something it cannot do: bad options, a bad task, bad arrays."""


class NotFittedError(ModelError):
    """A model was asked to predict, or to show its state, before it had learnt anything."""

    def __init__(self, name: str) -> None:
        super().__init__(f"model {name!r} is not fitted: call fit() or load_state() first")
        self.name = name


class DivergedError(ModelError):
    """Training produced a loss that is not a number; the model must not be used."""

    def __init__(self, name: str, *, epoch: int, step: int) -> None:
        super().__init__(f"training of {name!r} diverged: loss is not finite in epoch {epoch}, step {step}")
        self.name = name
        self.epoch = epoch
        self.step = step


class CheckpointError(ModelError):
    """A saved model is missing, damaged, or not the one that was asked for."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"checkpoint {path}: {problem}")
        self.path = path
        self.problem = problem
