"""Arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipeline.workspace import Workspace

ProductFile = Annotated[
    Path, typer.Argument(metavar="PRODUCT", help="Product file, e.g. deploy/products/ireland-wind.yaml.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
At = Annotated[
    str | None,
    typer.Option("--at", metavar="T", help="Instant that counts as now, ISO 8601, UTC. Default: now."),
]
Since = Annotated[str | None, typer.Option("--since", metavar="T", help="First instant of a window.")]
Until = Annotated[str | None, typer.Option("--until", metavar="T", help="Last instant of a window.")]


def open_workspace(path: Path) -> Workspace:
    """Return the workspace of a product file, in the home that the settings name.

    Raises:
        ConfigError: a mistake in the file or in a setting.
    """
    from pipeline.config import load_product, settings
    from pipeline.workspace import Workspace

    return Workspace(load_product(path), settings())
