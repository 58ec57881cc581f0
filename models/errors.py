"""Exceptions of `models`; each carries the facts behind its message."""

from __future__ import annotations

from pathlib import Path


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 300 characters; the name of its type if it has no message.

    Libraries append dumps to their messages, and a `MemoryError` has none.
    """
    return (str(error).strip() or type(error).__name__).partition("\n")[0][:300]


class ModelError(Exception):
    """Invalid options, task or arrays for a model."""


class NotFittedError(ModelError):
    """A forecast or the state of a model was requested before it was fitted."""

    def __init__(self, name: str) -> None:
        super().__init__(f"model {name!r} is not fitted: call fit() or load_state() first")
        self.name = name


class DivergedError(ModelError):
    """Training diverged: the loss is not finite, and the model must not be used."""

    def __init__(self, name: str, *, epoch: int, step: int) -> None:
        super().__init__(f"training of {name!r} diverged: loss is not finite in epoch {epoch}, step {step}")
        self.name = name
        self.epoch = epoch
        self.step = step


class OutOfTimeError(ModelError):
    """Training reached its deadline before its planned length, and the model must not be used."""

    def __init__(self, name: str, completed: float) -> None:
        super().__init__(f"training of {name!r} ran out of time after {completed:.0%} of its planned length")
        self.name = name
        self.completed = completed
        """Fraction of the planned steps."""


class CheckpointError(ModelError):
    """A saved model is missing, damaged, or not the requested one."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"checkpoint {path}: {problem}")
        self.path = path
        self.problem = problem
