"""Output of commands: results on stdout, as text or JSON; progress and errors on stderr, one line each."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(result: BaseModel | Sequence[BaseModel]) -> None:
    """Print one result, or a list of them, as one JSON document."""
    if isinstance(result, BaseModel):
        print_data(result.model_dump(mode="json"))
    else:
        print_data([one.model_dump(mode="json") for one in result])


def print_data(data: object) -> None:
    """Print plain data as one JSON document; numbers that JSON cannot hold become null."""
    sys.stdout.write(json.dumps(_finite(data), indent=2, ensure_ascii=False) + "\n")


def table(*columns: str) -> Table:
    """Return an empty table; a column whose name starts with > is aligned to the right."""
    empty = Table(
        box=None,
        pad_edge=False,
        header_style="dim",
    )
    for column in columns:
        empty.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    return empty


def minute(instant: datetime | None) -> str:
    """Return a time to the minute, in UTC; a dash for None."""
    return f"{instant:%Y-%m-%d %H:%M}Z" if instant else "–"


def _finite(data: object) -> object:
    if isinstance(data, dict):
        return {name: _finite(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    if isinstance(data, float) and (data != data or data in (float("inf"), float("-inf"))):
        return None
    return data
