"""The entry point: commands, plugins, and one line for every error."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pipeline.cli import job_commands, special_commands
from pipeline.errors import NightcastError

PLUGINS = "nightcast.commands"
INTERRUPTED = 130


class Commands(TyperGroup):
    """Our own commands, and those of plugins, which are loaded only when one is called or all are listed."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command by its name; None if there is none."""
        if cmd_name not in self.commands:
            self._load_plugins()
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        self._load_plugins()
        return super().list_commands(ctx)

    def _load_plugins(self) -> None:
        from importlib.metadata import entry_points

        for plugin in sorted(entry_points(group=PLUGINS), key=lambda plugin: plugin.name):
            if plugin.name not in self.commands:
                alone = typer.Typer(add_completion=False)
                alone.command(plugin.name)(plugin.load())
                self.commands[plugin.name] = typer.main.get_command(alone)


def _version(wanted: bool) -> None:
    if wanted:
        from pipeline.version import code_version

        typer.echo(f"nightcast {code_version()}")
        raise typer.Exit


def build_app() -> typer.Typer:
    """Return the command tree."""
    app = typer.Typer(
        name="nightcast",
        cls=Commands,
        help="Probabilistic forecasts from sensor and weather feeds: on schedule, verified, retrained every night.\n\n"
        "Exit codes: 0 done, 1 internal error or damaged data, 2 usage error, 3 upstream failure (source down, no "
        "data), 4 refused by a gate or contract.",
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
        traceback: Annotated[
            bool, typer.Option("--traceback", help="After an error, show where it was raised.")
        ] = False,
        verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more to stderr.")] = False,
    ) -> None:
        logging.basicConfig(
            level=logging.INFO if verbose else logging.WARNING,
            format="%(levelname)s %(name)s: %(message)s",
            stream=sys.stderr,
        )
        if not verbose:
            warnings.simplefilter("ignore")

    special_commands.add_to(app)
    job_commands.add_to(app)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run one command and end the process with its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    try:
        build_app()(given)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: finished work is stored; run the command again to continue\n")
        sys.exit(INTERRUPTED)
    except Exception as error:
        if "--traceback" in given:
            raise
        _fail(error, as_json="--json" in given)


def _fail(error: Exception, *, as_json: bool) -> None:
    """Print an error in one line and end the process."""
    from rich.markup import escape

    from models.errors import ModelError
    from pipeline.cli.console import err, print_data

    kind = type(error).__name__
    text = " ".join(str(error).split()) or kind
    if not isinstance(error, (NightcastError, ModelError, OSError)):
        kind, text = "RuntimeError", f"{kind}: {text}; --traceback shows where"
    code = error.exit_code if isinstance(error, NightcastError) else 1
    err.print(f"[bold red]error:[/] {escape(text)}")
    if as_json:
        print_data({"error": text, "kind": kind, "exit_code": code})
    sys.exit(code)
