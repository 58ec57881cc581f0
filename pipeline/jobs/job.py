"""What all jobs share: how their steps are run, how they report progress, and the base of their results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

P = ParamSpec("P")
T = TypeVar("T")


class Runner(Protocol):
    """Runs one step of a job and returns what the step returns."""

    def __call__(self, step: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the step."""
        ...


def call(step: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a step as a plain function call; a flow runs it as a task instead."""
    return step(*args, **kwargs)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long job has come."""

    task: str
    """What is counted, such as "piece" or "training gru, epoch"."""
    done: int
    total: int
    detail: str = ""

    def __str__(self) -> str:
        line = f"{self.task} {self.done} of {self.total}"
        return f"{line}, {self.detail}" if self.detail else line


OnProgress = Callable[[Progress], None]


def ignore_progress(progress: Progress) -> None:
    """Do nothing."""


class Facts(BaseModel):
    """A part of a result: frozen, and written with `--json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Result(Facts):
    """The result of one job for one product."""

    product: str

    @property
    def exit_code(self) -> int:
        """Exit code of the command: 0, unless the job ended without an error but not well."""
        return 0


class RowCounts(Facts):
    """What became of rows that passed the checks."""

    accepted: int
    """Rows with a new key."""
    revised: int
    """Rows that changed a known value and were appended as a revision."""
    unchanged: int
    """Rows that repeat what was known already."""
