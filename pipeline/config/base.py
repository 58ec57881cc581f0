"""The strict base class of configuration objects, and value types that YAML does not have."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic_core import CoreSchema

from pipeline.errors import InvalidValueError
from pipeline.names import check_name

_UNITS = {
    "s": timedelta(seconds=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
    "y": timedelta(days=365, hours=6),
}
DURATION_PATTERN = r"^(\d+(?:\.\d+)?)(s|min|h|d|w|y)$"


class Strict(BaseModel):
    """A frozen object that rejects unknown fields and implicit type conversions.

    In the JSON schema, the docstrings of the fields are their descriptions. They are read when a schema is generated:
    `use_attribute_docstrings` would parse the source of every class on import.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        defer_build=True,  # importing a class costs less; the first object builds its validator
        serialize_by_alias=True,  # so that output can be read back
    )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        result = handler(schema)
        properties = handler.resolve_ref_schema(result).get("properties", {})
        for name, text in _field_docstrings(cls).items():
            properties[cls.model_fields[name].alias or name].setdefault("description", text)
        return result


def _field_docstrings(cls: type[Strict]) -> dict[str, str]:
    """Return the docstrings of the fields of a class and its bases."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if issubclass(base, Strict) and base is not Strict:
            (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
            for field, text in pairwise(definition.body if isinstance(definition, ast.ClassDef) else ()):
                match field, text:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(docstring))):
                        if name in cls.model_fields:
                            found[name] = inspect.cleandoc(docstring)
    return found


def parse_duration(text: object) -> timedelta:
    """Return the duration that text such as ``10min``, ``6h``, ``1d`` or ``10y`` means; a year has 365.25 days.

    Raises:
        InvalidValueError: the text is not a number followed by one of s, min, h, d, w, y.
    """
    if isinstance(text, timedelta):
        return text
    match = re.fullmatch(DURATION_PATTERN, text) if isinstance(text, str) else None
    if match is None:
        raise InvalidValueError(f"{text!r} is not a duration", "write a number and a unit: 30s, 10min, 6h, 1d, 2w, 10y")
    try:
        return float(match[1]) * _UNITS[match[2]]
    except OverflowError:
        raise InvalidValueError(f"{match[0][:80]!r} is too long", "write e.g. 10y") from None


def format_duration(span: timedelta) -> str:
    """Return the shortest text that `parse_duration` reads as the same duration."""
    seconds = span.total_seconds()
    for unit in ("y", "w", "d", "h", "min"):
        size = _UNITS[unit].total_seconds()
        if seconds and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds:f}".rstrip("0").rstrip(".") + "s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["10min", "6h", "1d", "10y"]}),
]
"""A duration, written as in ``6h``."""

Name = Annotated[str, AfterValidator(check_name)]
"""A name that is safe in paths, URLs, registries and HTML."""
