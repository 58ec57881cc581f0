"""Cells of a payload column as text and numbers, with missing and invalid ones."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import date, datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.errors import ContractError

Decimal = Literal[".", ","]

_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_WITH_COMMA = _NUMBER.replace(r"\.", ",")


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds text."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def encode(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], pa.Array]:
    """Return the index of each cell among the distinct cells of a column, -1 for null, and the distinct cells."""
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column)
    whole = column.unify_dictionaries().combine_chunks()
    whole = pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
    return np.asarray(pc.fill_null(whole.indices, -1), np.int64), whole.dictionary


def read_texts(column: pa.ChunkedArray, missing: tuple[str, ...] = ("",), *, name: str = "") -> pa.ChunkedArray:
    """Return cells as text without padding; null where they are null or one of the `missing` texts.

    Whole numbers become text without a decimal point, and NaN is null.

    Raises:
        ContractError: the column holds values that have no text, such as lists.
    """
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
        with suppress(pa.ArrowInvalid):  # unless all are whole
            column = pc.cast(column, pa.int64())
    try:
        text = pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
    except pa.ArrowNotImplementedError:
        raise ContractError(f"column '{name}' holds {column.type}, not text") from None
    return pc.if_else(pc.is_in(text, value_set=pa.array(missing, pa.string())), None, text)


def read_numbers(
    name: str, column: pa.ChunkedArray, missing: tuple[str, ...], decimal: Decimal = "."
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the numbers of a column, NaN for none, and a mask of the cells that hold no finite number.

    Text has `decimal` as its decimal mark and no thousands separator. A `missing` text that is a number, such as -9999,
    means no value however it is written, and also in a column of numbers.

    Raises:
        ContractError: the column holds neither text nor numbers.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        codes, distinct = encode(column)
        values, unreadable = read_numbers(name, pa.chunked_array([distinct]), missing, decimal)
        return np.append(values, np.nan)[codes], np.append(unreadable, False)[codes]  # -1, null, is the last
    if is_text(kind):
        text = read_texts(column, missing)
        parsed, given = _parse(text, decimal), _numpy(pc.is_valid(text), np.bool_)
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        parsed = pc.cast(column, pa.float64(), safe=False)
        given = ~_numpy(pc.is_null(parsed, nan_is_null=True), np.bool_)
    elif pa.types.is_null(kind):
        return np.full(len(column), np.nan), np.zeros(len(column), np.bool_)
    else:
        raise ContractError(f"column '{name}' holds {kind}, not numbers")
    values = _numpy(parsed, np.float64)
    precision = kind.to_pandas_dtype() if pa.types.is_floating(kind) else np.float64
    for sentinel in _sentinels(missing, decimal, precision):
        given &= values != sentinel
    unreadable = given & ~np.isfinite(values)
    return np.where(given & ~unreadable, values, np.nan), unreadable


def as_json(cells: Mapping[str, Any]) -> str:
    """Return cells as a strict JSON object; values that JSON does not have, such as NaN, become text."""
    return _JSON.encode(plain(cells))


def plain(value: Any) -> Any:
    """Return a cell, or cells by name, as strict JSON data; values that JSON does not have become text."""
    if isinstance(value, Mapping):
        return {str(name): plain(cell) for name, cell in value.items()}
    if isinstance(value, datetime | date):
        return value.isoformat()
    if value is None or isinstance(value, bool | int | str):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else str(value)


def _parse(text: pa.ChunkedArray, decimal: Decimal) -> pa.ChunkedArray:
    """Return the numbers in texts, null for none."""
    if decimal == ",":
        text = pc.if_else(pc.match_substring_regex(text, _WITH_COMMA), text, None)
        return pc.cast(pc.replace_substring(text, ",", "."), pa.float64())
    try:
        return pc.cast(text, pa.float64())
    except pa.ArrowInvalid:  # at least one cell is not a number: find which
        return pc.cast(pc.if_else(pc.match_substring_regex(text, _NUMBER), text, None), pa.float64())


def _sentinels(missing: tuple[str, ...], decimal: Decimal, precision: type[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the numbers that mean no value, in the precision of a column: -99.99 differs in single precision."""
    plain = [text.strip().replace(decimal, ".") for text in missing]
    given = np.array([float(text) for text in plain if re.match(_NUMBER, text, re.ASCII)])
    with np.errstate(over="ignore"):
        numbers: NDArray[np.float64] = given.astype(precision).astype(np.float64)
    return numbers[np.isfinite(numbers)]


def _numpy(column: pa.ChunkedArray, kind: type[np.generic]) -> NDArray[Any]:
    return np.array(column.to_numpy(), dtype=kind)
