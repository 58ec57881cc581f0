"""Options as people write them, checked against what a model takes, before anything is built."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from models.errors import ModelError

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def fitting(model: str, given: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are given, each of the type that is wanted; what is None is left to the model.

    Args:
        model: name of the model, for errors.
        given: values by option.
        wanted: types by option; of a type that is not plain anything is let through.

    Raises:
        ModelError: there is no such option, or its value is of another type.
    """
    for name in given:
        if name not in wanted:
            close = difflib.get_close_matches(name, wanted, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(wanted) or 'none'}"
            raise ModelError(f"{model}: unknown option {name!r}; {hint}")
    return {name: _value(model, name, value, wanted[name]) for name, value in given.items() if value is not None}


def _value(model: str, name: str, value: Any, wanted: Any) -> Any:
    if get_origin(wanted) in (Union, UnionType):
        plain = [kind for kind in get_args(wanted) if kind is not type(None)]
        if len(plain) != 1:
            return value
        wanted = plain[0]
    if get_origin(wanted) is Literal:
        if value not in get_args(wanted):
            raise ModelError(f"{model}: {name} must be one of {list(get_args(wanted))}, found {value!r}")
        return value
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted in _WORDS and type(value) is not wanted:
        raise ModelError(f"{model}: {name} must be {_WORDS[wanted]}, found {value!r}")
    return value
