"""Validation errors of pydantic as one `ConfigError`: where the mistake is, what is wrong, and how to correct it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import Any

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
    wanted = location[-2] if len(location) > 1 else None
    root = model.model_json_schema()
    if wanted is None:
        return list(root["properties"])
    definitions: dict[str, Any] = root.get("$defs", {})
    for definition in definitions.values():  # the member of a union that `kind` names
        if definition.get("properties", {}).get("kind", {}).get("const") == wanted:
            return list(definition["properties"])
    names: list[str] = []
    for schema in (root, *definitions.values()):
        branch = schema.get("properties", {}).get(wanted)
        for part in _walk(branch) if branch else ():
            if "$ref" in part:
                names += definitions[part["$ref"].rsplit("/", 1)[-1]].get("properties", {})
    return names


def _walk(schema: Any) -> Iterable[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from _walk(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _walk(value)
