"""Validation errors of pydantic as one `ConfigError`: where the mistake is, what is wrong, and how to correct it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.errors import ConfigError, InvalidValueError

Location = tuple[str | int, ...]
"""Path of a value in a document, e.g. ("feed", "variables", "wind_speed")."""


def explain(
    file: str, error: ValidationError, model: type[BaseModel], lines: dict[Location, int] | None = None
) -> ConfigError:
    """Return the first mistake that pydantic found, with the line of the file where `lines` has it."""
    # A misspelt field is also reported as missing: the misspelling is what the user can see in the file.
    details = sorted(error.errors(), key=lambda detail: detail["type"] == "missing")[0]
    tagged = tuple(part for part in details["loc"] if part != "[key]")
    location = tagged if lines is None else _without_tags(tagged, lines)
    if details["type"] in ("union_tag_invalid", "union_tag_not_found"):
        location = (*location, details["ctx"]["discriminator"].strip("'"))
    invalid = details.get("ctx", {}).get("error")
    if isinstance(invalid, InvalidValueError):
        problem, remedy = invalid.problem, invalid.remedy
        if invalid.field:
            within = location[:-1] if lines is not None and location not in lines else location
            location = (*within, *invalid.field.split("."))
    else:
        problem, remedy = _sentences(details, model, tagged)
    line = next((lines[location[:n]] for n in range(len(location), -1, -1) if location[:n] in lines), 0) if lines else 0
    return ConfigError(f"{file}:{line}" if line else file, ".".join(map(str, location)), problem, remedy)


def _without_tags(location: Location, lines: dict[Location, int]) -> Location:
    """Return a location without the kinds that pydantic inserts between a union and its fields."""
    kept: Location = ()
    for position, part in enumerate(location):
        tag = part not in {known[len(kept)] for known in lines if known[: len(kept)] == kept and len(known) > len(kept)}
        if not tag or position == len(location) - 1:
            kept = (*kept, part)
    return kept


def _sentences(details: ErrorDetails, model: type[BaseModel], location: Location) -> tuple[str, str]:
    """Return what is wrong, and how to correct it."""
    kind = details["type"]
    if kind == "extra_forbidden":
        names = _siblings(model, location)
        near = difflib.get_close_matches(str(location[-1]), names, n=1)
        return "unknown field", f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(sorted(names))}"
    if kind in ("missing", "union_tag_not_found"):
        return "missing", "this field is required"
    if kind == "union_tag_invalid":
        return f"got {json.dumps(details['ctx']['tag'])[:80]}", f"known: {details['ctx']['expected_tags']}"
    message = details["msg"].removeprefix("Value error, ")
    if kind in ("value_error", "assertion_error"):
        return message, ""
    shown = "a secret" if location[:1] == ("secrets",) else json.dumps(details["input"], default=str)[:80]
    return f"got {shown}", message[0].lower() + message[1:]


def _siblings(model: type[BaseModel], location: Location) -> list[str]:
    """Return the names of the fields that are known at the location of an unknown one."""
    classes = {model}
    for part in location[:-1]:
        fields = [field for cls in classes for name, field in cls.model_fields.items() if part in (name, field.alias)]
        inner = {cls for field in fields for cls in _classes_in(field.annotation)}
        if not inner:  # an index, a key, or the kind of a member of a union
            inner = {cls for cls in _with_subclasses(classes) if part in _kinds(cls)}
        classes = inner or classes
    return list({field.alias or name: None for cls in classes for name, field in cls.model_fields.items()})


def _classes_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _classes_in(argument)


def _with_subclasses(classes: Iterable[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    for cls in classes:
        yield cls
        yield from _with_subclasses(cls.__subclasses__())


def _kinds(cls: type[BaseModel]) -> tuple[Any, ...]:
    kind = cls.model_fields.get("kind")
    return get_args(kind.annotation) if kind else ()
