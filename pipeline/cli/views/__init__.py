"""Results as text for people: one module per job, with a function `show` that prints the result."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any


def show_result(module: str, result: Any) -> None:
    """Print the result of a job: by the module of that name, or field by field if there is none."""
    name = f"{__name__}.{module}"
    if find_spec(name) is not None:
        import_module(name).show(result)
        return
    from rich.markup import escape

    from pipeline.cli.console import out

    for field, value in dict(result).items():
        out.print(f"{field:<14}{escape(str(value))}")
