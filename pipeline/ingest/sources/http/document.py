"""Strict parsing of JSON payloads within limits, and conversion of cells to columns."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import orjson
import pyarrow as pa

from pipeline.errors import NoDataError, SourceError
from pipeline.ingest.sources.base import Payload

MEDIA_TYPE = "media_type"
"""Key of the media type in the context of a payload."""
_JSON = {"", "application/json", "text/json", "application/geo+json"}
_MAX_DEPTH = 32
_EXACT = 2**53
_MAX_CONTAINERS = 500_000  # each takes about 200 bytes of memory


def read_document(payload: Payload, *, media_types: Collection[str] = ()) -> Any:
    """Return the JSON document of a payload. NaN, Infinity and numbers beyond 1e308 are not valid JSON.

    Raises:
        NoDataError: the payload has no bytes.
        SourceError: its media type is neither JSON nor one of `media_types`, or it is not valid JSON, is nested deeper
            than 32 levels, or has more than 500,000 objects and lists.
    """
    media_type = payload.context.get(MEDIA_TYPE, "")
    if media_type not in _JSON and not media_type.endswith("+json") and media_type not in media_types:
        raise SourceError(f"{payload.name}: the response is {media_type[:80]!r}, not JSON")
    if not payload.content.strip():
        raise NoDataError(f"{payload.name}: the payload is empty")
    if payload.content.count(b"[") + payload.content.count(b"{") > _MAX_CONTAINERS:
        raise SourceError(f"{payload.name}: more than {_MAX_CONTAINERS:,} objects and lists; request less at once")
    try:
        document = orjson.loads(payload.content)
    except orjson.JSONDecodeError as error:
        raise SourceError(f"{payload.name}: not valid JSON, {error}") from error
    if _is_too_deep(document):
        raise SourceError(f"{payload.name}: nested deeper than {_MAX_DEPTH} levels")
    return document


def as_column(cells: Sequence[Any]) -> pa.Array:
    """Return cells as a numeric column if all are numbers, else as text; see `as_text`."""
    kinds = {type(cell) for cell in cells} - {type(None)}
    if kinds == {int} and all(cell is None or abs(cell) < _EXACT for cell in cells):
        return pa.array(cells, pa.int64())
    if kinds and kinds <= {int, float}:
        return pa.array([None if cell is None else float(cell) for cell in cells], pa.float64())
    return pa.array([None if cell is None else as_text(cell) for cell in cells], pa.string())


def as_text(cell: Any) -> str:
    """Return a cell as text: a string as it is, anything else as JSON."""
    return cell if isinstance(cell, str) else orjson.dumps(cell).decode()


def _is_too_deep(document: Any) -> bool:
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
