"""How a job runs its steps. A job is written once, as plain calls; whoever runs it may wrap each step."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Runner(Protocol):
    """Runs one step of a job and returns what the step returns."""

    def __call__(self, step: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the step."""
        ...


def plain(step: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a step as the function call it is."""
    return step(*args, **kwargs)
