"""Reading YAML safely: plain data only, no aliases, no tags, no doubled keys, and every value knows its line."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.errors import ConfigError

MAX_BYTES = 100_000
MAX_DEPTH = 30
_PLAIN_TAGS = {
    f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp")
}
_NUMBER = re.compile(
    r"[-+]?(0|[1-9][0-9]{0,99})(\.[0-9]*)?([eE][-+]?[0-9]+)?|[-+]?\.[0-9]+|[-+]?\.(inf|nan)", re.IGNORECASE
)

Location = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


def load(path: Path, model: type[Model]) -> Model:
    """Return the validated content of a YAML file.

    Raises:
        ConfigError: the file is missing, is not plain YAML, or does not fit `model`; the first mistake is told.
    """
    if not path.is_file():
        raise ConfigError(str(path), "", "no such file", "give the path of a product file, e.g. deploy/products/x.yaml")
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(str(path), "", f"larger than {MAX_BYTES} bytes", "a product file is a few hundred lines")
    data, lines = _parse(path)
    try:
        # JSON mode: strict about types, yet arrays may fill tuples and text may fill times.
        return model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        raise explain(str(path), error, model, lines) from None


def explain(
    file: str, error: ValidationError, model: type[BaseModel], lines: dict[Location, int] | None = None
) -> ConfigError:
    """Turn the first mistake that pydantic found into one line that says what would be right."""
    # A misspelt name also makes its field missing: tell of the name that is there.
    details = sorted(error.errors(), key=lambda detail: detail["type"] == "missing")[0]
    tagged = tuple(part for part in details["loc"] if part != "[key]")
    problem, remedy = _words(details, model, tagged)
    location = tagged if lines is None else _without_tags(tagged, lines)
    if details["type"] in ("union_tag_invalid", "union_tag_not_found"):
        location = (*location, details["ctx"]["discriminator"].strip("'"))
    across = not location or (lines is not None and location not in lines and details["type"] == "value_error")
    if across and ": " in problem:  # a check across fields names the one at fault itself
        field, _, problem = problem.partition(": ")
        location = (*location[:-1], *field.split("."))
    line = next((lines[location[:n]] for n in range(len(location), -1, -1) if location[:n] in lines), 0) if lines else 0
    return ConfigError(f"{file}:{line}" if line else file, ".".join(map(str, location)), problem, remedy)


def _without_tags(location: Location, lines: dict[Location, int]) -> Location:
    """Leave out the kinds that pydantic puts between a union and its fields: the file does not have them there."""
    kept: Location = ()
    for place, part in enumerate(location):
        tag = part not in {known[len(kept)] for known in lines if known[: len(kept)] == kept and len(known) > len(kept)}
        if not tag or place == len(location) - 1:
            kept = (*kept, part)
    return kept


def _words(details: ErrorDetails, model: type[BaseModel], location: Location) -> tuple[str, str]:
    kind, given = details["type"], details["input"]
    if kind == "extra_forbidden":
        names = _siblings(model, location)
        near = difflib.get_close_matches(str(location[-1]), names, n=1)
        return (
            "unknown field",
            f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(sorted(names))}",
        )
    if kind == "missing":
        return "missing", "this field is required"
    if kind == "union_tag_not_found":
        return "missing", "this field is required"
    if kind == "union_tag_invalid":
        return f"got {json.dumps(details['ctx']['tag'])[:80]}", f"known: {details['ctx']['expected_tags']}"
    message = details["msg"].removeprefix("Value error, ")
    if kind in ("value_error", "assertion_error"):
        problem, _, remedy = message.partition("; ")
        return problem, remedy
    shown = "a secret" if location[:1] == ("secrets",) else json.dumps(given, default=str)[:80]
    return f"got {shown}", message[0].lower() + message[1:]


def _siblings(model: type[BaseModel], location: Location) -> list[str]:
    """Field names that are known where the unknown one stands."""
    wanted = location[-2] if len(location) > 1 else None
    root = model.model_json_schema()
    if wanted is None:
        return list(root["properties"])
    definitions: dict[str, Any] = root.get("$defs", {})
    for definition in definitions.values():  # of a union, the branch that `kind` names
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


def _parse(path: Path) -> tuple[Any, dict[Location, int]]:
    try:
        text = path.read_text("utf-8")
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            where = f"{path}:{event.start_mark.line + 1 if event.start_mark else 0}"
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise ConfigError(where, "", f"nested deeper than {MAX_DEPTH}", "flatten it")
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise ConfigError(where, "", "aliases are not allowed", "write the value out")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except UnicodeDecodeError:
        raise ConfigError(str(path), "", "not a UTF-8 text file", "save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(str(path), "", f"cannot be read, {error.strerror}", "check its permissions") from None
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(
            f"{path}{line}", "", f"not valid YAML, {error.problem}", "check indentation and quotes"
        ) from None
    except yaml.YAMLError:  # how yaml says: a character that no text has
        raise ConfigError(str(path), "", "not valid YAML, it holds control characters", "remove them") from None
    lines: dict[Location, int] = {}
    data = None if node is None else _construct(path, node, (), lines)
    if data is None:
        raise ConfigError(str(path), "", "the file is empty", "see `nightcast schema` for what it holds")
    return data, lines


def _construct(path: Path, node: yaml.Node, at: Location, lines: dict[Location, int]) -> Any:
    line = node.start_mark.line + 1
    lines[at] = line
    where = ".".join(map(str, at))
    if node.tag not in _PLAIN_TAGS:
        raise ConfigError(f"{path}:{line}", where, f"tag {node.tag} is not allowed", "use plain values")
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                mark = key_node.start_mark.line + 1
                raise ConfigError(f"{path}:{mark}", where, "a name is a list or a mapping", "use a plain name")
            key = str(key_node.value)
            if key in result:
                raise ConfigError(f"{path}:{key_node.start_mark.line + 1}", where, f"'{key}' stands twice", "keep one")
            result[key] = _construct(path, value_node, (*at, key), lines)
            lines[(*at, key)] = key_node.start_mark.line + 1
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_construct(path, item, (*at, index), lines) for index, item in enumerate(node.value)]
    if node.tag.endswith(("timestamp", "str")):
        return node.value
    if node.tag.endswith(("int", "float")) and not _NUMBER.fullmatch(node.value):  # YAML reads 1:30 as 90 and 010 as 8
        raise ConfigError(f"{path}:{line}", where, f"{node.value[:80]} is no decimal number", "write e.g. 10 or 0.5")
    value = yaml.safe_load(node.value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{path}:{line}", where, f"{node.value} is not a finite number", "write a finite one or null")
    return value
