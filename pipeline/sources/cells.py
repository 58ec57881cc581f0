"""Cells of a payload column: numbers, missing values, and what is neither."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.errors import ContractError

_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds text."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def read_texts(column: pa.ChunkedArray, missing: tuple[str, ...] = ("",)) -> pa.ChunkedArray:
    """Return cells as text without padding; null where they are null or one of the `missing` texts."""
    text = pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
    return pc.if_else(pc.is_in(text, value_set=pa.array(missing, pa.string())), None, text)


def read_numbers(
    name: str, column: pa.ChunkedArray, missing: tuple[str, ...]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the numbers of a column, NaN where there is none, and where a given cell is no finite number.

    A `missing` text that is a number, such as -9999, also means no value in a column of numbers.

    Raises:
        ContractError: the column holds neither text nor numbers.
    """
    kind = column.type
    if is_text(kind):
        text = read_texts(column, missing)
        try:
            parsed = pc.cast(text, pa.float64())
        except pa.ArrowInvalid:  # at least one cell is no number: find which
            parsed = pc.cast(pc.if_else(pc.match_substring_regex(text, _NUMBER), text, None), pa.float64())
        given = _numpy(pc.is_valid(text), np.bool_)
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        parsed = pc.cast(column, pa.float64(), safe=False)
        given = ~_numpy(pc.is_null(parsed, nan_is_null=True), np.bool_)
    elif pa.types.is_null(kind):
        return np.full(len(column), np.nan), np.zeros(len(column), np.bool_)
    else:
        raise ContractError(f"column '{name}' holds {kind}, not numbers")
    values = _numpy(parsed, np.float64)
    sentinels = [float(text) for text in missing if _is_number(text)]
    given &= ~np.isin(values, sentinels)
    unreadable = given & ~np.isfinite(values)
    return np.where(given & ~unreadable, values, np.nan), unreadable


def as_json(cells: Mapping[str, Any]) -> str:
    """Return cells as a strict JSON object; what JSON has no word for, such as NaN, becomes text."""
    return _JSON.encode(plain(cells))


def plain(value: Any) -> Any:
    """Return a cell, or cells by name, as strict JSON data; what JSON has no word for becomes text."""
    if isinstance(value, Mapping):
        return {str(name): plain(cell) for name, cell in value.items()}
    if isinstance(value, datetime | date):
        return value.isoformat()
    if value is None or isinstance(value, bool | int | str):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else str(value)


def _numpy(column: pa.ChunkedArray, kind: type[np.generic]) -> NDArray[Any]:
    return np.array(column.to_numpy(), dtype=kind)


def _is_number(text: str) -> bool:
    return bool(pc.match_substring_regex(pa.scalar(text), _NUMBER).as_py())
