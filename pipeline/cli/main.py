"""The entry point: commands of our own, commands of plugins, and one line for every mistake."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from importlib.metadata import entry_points
from typing import Annotated

import typer
from rich.markup import escape

from models.errors import ModelError
from pipeline.cli import data_commands, jobs_commands, registry_commands, setup_commands
from pipeline.cli.console import err, print_data
from pipeline.errors import NightcastError
from pipeline.version import code_version

PLUGINS = "nightcast.commands"
INTERRUPTED = 130


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nightcast {code_version()}")
        raise typer.Exit


def build_app() -> typer.Typer:
    """Return the command tree."""
    app = typer.Typer(
        name="nightcast",
        help="Probabilistic forecasts from sensor and weather feeds: on schedule, verified, retrained nightly.\n\n"
        "Exit codes: 0 done, 1 internal error, 2 wrong use, 3 upstream failure (source down, no data), "
        "4 refused by a gate or contract.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def root(
        version: Annotated[
            bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
        ] = False,
        traceback: Annotated[bool, typer.Option("--traceback", help="On an error, show where it arose.")] = False,
        verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.")] = False,
    ) -> None:
        logging.basicConfig(
            level=logging.INFO if verbose else logging.WARNING,
            format="%(levelname)s %(name)s: %(message)s",
            stream=sys.stderr,
        )
        if not verbose:
            warnings.simplefilter("ignore")

    setup_commands.add_to(app)
    jobs_commands.add_to(app)
    data_commands.add_to(app)
    registry_commands.add_to(app)
    for plugin in sorted(entry_points(group=PLUGINS), key=lambda plugin: plugin.name):
        app.command(plugin.name)(plugin.load())
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run one command and end the process with its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    try:
        build_app()(given)
    except (NightcastError, ModelError, OSError) as error:
        if "--traceback" in given:
            raise
        _fail(error, as_json="--json" in given)
    except Exception as error:
        if "--traceback" in given:
            raise
        _fail(RuntimeError(f"{type(error).__name__}: {error}; --traceback shows where"), as_json="--json" in given)
    except KeyboardInterrupt:
        err.print("interrupted: what was finished is stored; run the command again to go on")
        sys.exit(INTERRUPTED)


def _fail(error: Exception, *, as_json: bool) -> None:
    code = error.exit_code if isinstance(error, NightcastError) else 1
    text = " ".join(str(error).split()) or type(error).__name__
    err.print(f"[bold red]error:[/] {escape(text)}")
    if as_json:
        print_data({"error": text, "kind": type(error).__name__, "exit_code": code})
    sys.exit(code)
