"""Arguments that several commands share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipeline.workspace import Workspace

ProductFile = Annotated[
    Path, typer.Argument(metavar="PRODUCT", help="Product file, e.g. deploy/products/ireland-wind.yaml.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@contextmanager
def open_workspace(path: Path) -> Iterator[Workspace]:
    """Open the workspace of a product file, in the home that the settings name.

    Raises:
        ConfigError: a mistake in the file or in a setting.
    """
    from pipeline.config import load_product, settings

    product, here = load_product(path), settings()
    from pipeline.workspace import Workspace  # not before the file is known to be valid

    with Workspace.open(product, here) as ws:
        yield ws
