"""Payload bytes to a JSON document, strictly and within bounds, and its cells to columns."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import orjson
import pyarrow as pa

from pipeline.errors import NoDataError, SourceError
from pipeline.ingest.sources.base import Payload

MEDIA_TYPE = "media_type"
"""Name in the context of a payload under which its media type is kept."""
_JSON = {"", "application/json", "text/json", "application/geo+json"}
_MAX_DEPTH = 32
_EXACT = 2**53
_MAX_CONTAINERS = 500_000  # each costs some 200 bytes once read


def read_document(payload: Payload, *, media_types: Collection[str] = ()) -> Any:
    """Return the document of a payload. NaN, Infinity and numbers beyond 1e308 are no JSON.

    Raises:
        NoDataError: the payload has no bytes.
        SourceError: the provider called it something other than JSON or one of `media_types`, or it is truncated, no
            JSON, nested deeper than 32 levels, or of more than 500,000 parts.
    """
    said = payload.context.get(MEDIA_TYPE, "")
    if said not in _JSON and not said.endswith("+json") and said not in media_types:
        raise SourceError(f"{payload.name}: answered {said[:80]!r}, not JSON")
    if not payload.content.strip():
        raise NoDataError(f"{payload.name}: the payload is empty")
    if payload.content.count(b"[") + payload.content.count(b"{") > _MAX_CONTAINERS:
        raise SourceError(f"{payload.name}: of more than {_MAX_CONTAINERS:,} parts; ask for less at once")
    try:
        document = orjson.loads(payload.content)
    except orjson.JSONDecodeError as error:
        raise SourceError(f"{payload.name}: not readable as JSON, {error}") from error
    if _deep(document):
        raise SourceError(f"{payload.name}: nested deeper than {_MAX_DEPTH} levels")
    return document


def as_column(cells: Sequence[Any]) -> pa.Array:
    """Return cells as a column of numbers where all are numbers, else as text; see `as_text`."""
    kinds = {type(cell) for cell in cells} - {type(None)}
    if kinds == {int} and all(cell is None or abs(cell) < _EXACT for cell in cells):
        return pa.array(cells, pa.int64())
    if kinds and kinds <= {int, float}:
        return pa.array([None if cell is None else float(cell) for cell in cells], pa.float64())
    return pa.array([None if cell is None else as_text(cell) for cell in cells], pa.string())


def as_text(cell: Any) -> str:
    """Return a cell as text: itself, or how JSON writes it."""
    return cell if isinstance(cell, str) else orjson.dumps(cell).decode()


def _deep(document: Any) -> bool:
    level = [document]
    for _ in range(_MAX_DEPTH):
        level = [child for node in level for child in _children(node) if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def _children(node: Any) -> Collection[Any]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()
