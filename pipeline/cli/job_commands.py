"""The commands that run a job, made from the list of jobs."""

from __future__ import annotations

import getpass
import inspect
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from pipeline.cli.arguments import AsJson, ProductFile, open_workspace
from pipeline.errors import UsageError
from pipeline.jobs.catalogue import JOBS, Positional
from pipeline.jobs.job import Job, Parameters, Result

GROUPS = {"quarantine": "Refused rows: list, show, release, drop."}
FILLED = "who"
"""A parameter that is not an option: it is the user who runs the command."""


def add_to(app: typer.Typer) -> None:
    """Add a command for every job."""
    groups = {name: typer.Typer(help=text, no_args_is_help=True) for name, text in GROUPS.items()}
    for name, group in groups.items():
        app.add_typer(group, name=name)
    for job in JOBS:
        *parents, name = job.words
        parent = groups[parents[0]] if parents else app
        parent.command(name)(make_command(job))


def make_command(job: Job) -> Callable[..., None]:
    """Return the function that Typer makes a command of: its options are the parameters of the job."""
    fields = {name: field for name, field in job.parameters.model_fields.items() if name != FILLED}

    def command(product: Path, as_json: bool, **values: Any) -> None:
        from pipeline.cli.console import err, print_json
        from pipeline.cli.progress import ProgressLines
        from pipeline.cli.views import show_result

        with open_workspace(product) as ws:
            arguments = parse_arguments(job, values)
            with ProgressLines(err, job.name) as on_progress:
                result = job(ws, arguments, on_progress=on_progress)
        if as_json:
            print_json(result)
        else:
            show_result(job.module, result)
        if isinstance(result, Result) and result.exit_code:
            raise typer.Exit(result.exit_code)

    annotations = {"product": ProductFile, **{name: _annotation(name, field) for name, field in fields.items()}}
    defaults = {name: _default(field) for name, field in fields.items()}
    parameters = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=defaults.get(name, inspect.Parameter.empty), annotation=kind
        )
        for name, kind in annotations.items()
    ]
    parameters.append(inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=AsJson))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {**annotations, "as_json": AsJson}
    command.__name__ = job.words[-1]
    command.__doc__ = job.summary
    return command


def parse_arguments(job: Job, values: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a job from the words of a command line.

    Raises:
        UsageError: a value is not valid.
    """
    from pipeline.times import parse_instant

    given = {name: value for name, value in values.items() if value is not None}
    for name, value in given.items():
        if _kind(job.parameters.model_fields[name]) is datetime:
            given[name] = parse_instant(value)
    if FILLED in job.parameters.model_fields:
        given[FILLED] = caller()
    return _validate(job.parameters, given)


def caller() -> str:
    """Return the name of the user who runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the user of a container may have a number but no name
        return f"user {os.getuid()}"


def _validate(parameters: type[Parameters], values: dict[str, Any]) -> dict[str, Any]:
    try:
        return dict(parameters.model_validate(values))
    except ValidationError as error:
        first = error.errors()[0]
        problem = first.get("ctx", {}).get("error", first["msg"])
        raise UsageError(f"{'.'.join(map(str, first['loc']))}: {problem}") from None


def _kind(field: FieldInfo) -> Any:
    """Return the type of a parameter without `None` and without constraints."""
    kind = field.annotation
    options = [one for one in get_args(kind) if one is not type(None)]
    if type(None) in get_args(kind):
        kind = options[0]
    return get_args(kind)[0] if hasattr(kind, "__metadata__") else kind


def _annotation(name: str, field: FieldInfo) -> Any:
    kind, optional = _kind(field), not field.is_required()
    metavar = None
    if kind is datetime:
        kind, metavar = str, "T"
    elif kind == tuple[int, int]:
        kind, metavar = str, "K/N"
    elif kind is timedelta:
        kind, metavar = str, "SPAN"
    elif kind == tuple[str, ...]:
        kind = list[str]
    if any(isinstance(mark, Positional) for mark in field.metadata):
        option = typer.Argument(help=field.description)
    else:
        option = typer.Option(f"--{name.replace('_', '-')}", metavar=metavar, help=field.description)
    return Annotated[kind | None if optional and kind is not bool else kind, option]


def _default(field: FieldInfo) -> Any:
    if field.is_required():
        return inspect.Parameter.empty
    return None if field.default in ((), "") else field.default
