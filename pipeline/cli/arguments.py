"""Arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
