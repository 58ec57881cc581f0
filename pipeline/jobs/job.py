"""What all jobs share: their declaration, how their steps run, how they report progress, the base of their results."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from pipeline.workspace import Workspace

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


class Parameters(BaseModel):
    """The parameters of a job: options of its command, and fields of its form in Prefect.

    Titles and descriptions of the fields are shown in both.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Job:
    """The declaration of a job. Its command, its flow and its deployment are made from it."""

    name: str
    function: str
    """`module:function`, imported when the job runs: the list of jobs must not import torch, MLflow or pandas."""
    summary: str
    """What the job does, for the help and for the deployment; the first sentence is the short form."""
    parameters: type[Parameters]
    command: str = ""
    """The command, if it is not the name: words after `nightcast`."""
    view: str = ""
    """Module in `pipeline/cli/views` that prints the result, and in `flows` that describes it, if not the name."""
    scheduled: bool = False
    """Whether `schedule` in the product file has a cron line of this name."""
    deployed: bool = True
    """Whether Prefect can run it, on a schedule or on demand."""
    timeout: timedelta = timedelta(hours=1)

    @property
    def words(self) -> list[str]:
        """The command as words."""
        return (self.command or self.name).split()

    @property
    def module(self) -> str:
        """Name of the modules that show the result."""
        return self.view or self.name

    def __call__(
        self,
        ws: Workspace,
        arguments: dict[str, Any],
        *,
        run: Runner = call,
        on_progress: OnProgress = ignore_progress,
    ) -> Any:
        """Run the job and return its result; a job without steps or progress does not get `run` or `on_progress`."""
        module, _, name = self.function.partition(":")
        function = getattr(import_module(module), name)
        accepted = inspect.signature(function).parameters
        hooks = {"run": run, "on_progress": on_progress}
        return function(ws, **arguments, **{name: hook for name, hook in hooks.items() if name in accepted})


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

    added: int
    """Rows with a new key."""
    revised: int
    """Rows that changed a known value and were appended as a revision."""
    unchanged: int
    """Rows that repeat what was known already."""
