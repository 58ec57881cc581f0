"""Options of a model, checked against its signature before the model is built."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from models.errors import ModelError
from models.legacy import RENAMED_OPTIONS

_TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}


def check_options(model: str, options: Mapping[str, Any], types: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with every value of its declared type; options that are None are left out.

    Args:
        model: name of the model, for errors.
        options: values by option.
        types: types by option; values of types other than bool, int, float, str and Literal are not checked.

    Raises:
        ModelError: an option is unknown or was renamed, or its value is of another type.
    """
    for name in options:
        if name not in types:
            raise ModelError(f"{model}: {_unknown(name, types)}")
    return {name: _check(model, name, value, types[name]) for name, value in options.items() if value is not None}


def _unknown(name: str, types: Mapping[str, Any]) -> str:
    if (new := RENAMED_OPTIONS.get(name)) in types:
        return f"option {name!r} was renamed to {new!r}"
    if close := difflib.get_close_matches(name, types, n=1):
        return f"unknown option {name!r}; did you mean {close[0]!r}?"
    return f"unknown option {name!r}; options are {', '.join(types) or 'none'}"


def _check(model: str, name: str, value: Any, expected: Any) -> Any:
    if get_origin(expected) in (Union, UnionType):
        alternatives = [kind for kind in get_args(expected) if kind is not type(None)]
        if len(alternatives) != 1:
            return value
        expected = alternatives[0]
    if get_origin(expected) is Literal:
        if value not in get_args(expected):
            raise ModelError(f"{model}: {name} must be one of {list(get_args(expected))}, found {value!r}")
        return value
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if expected in _TYPE_NAMES and type(value) is not expected:
        raise ModelError(f"{model}: {name} must be {_TYPE_NAMES[expected]}, found {value!r}")
    return value
