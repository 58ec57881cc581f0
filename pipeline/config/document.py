"""Product files: plain YAML without aliases, tags or repeated keys, validated, with the line of each mistake."""

from __future__ import annotations

import json
import logging
import math
import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.config.explain import Location, explain
from pipeline.config.renamed import upgrade
from pipeline.errors import ConfigError

MAX_BYTES = 100_000
MAX_DEPTH = 30
_PLAIN_TAGS = {
    f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp")
}
_NUMBER = re.compile(
    r"[-+]?(0|[1-9][0-9]{0,99})(\.[0-9]*)?([eE][-+]?[0-9]+)?|[-+]?\.[0-9]+|[-+]?\.(inf|nan)", re.IGNORECASE
)

Model = TypeVar("Model", bound=BaseModel)
log = logging.getLogger(__name__)


def load(path: Path, model: type[Model]) -> Model:
    """Return the validated content of a YAML file; fields with an old name are accepted, and logged.

    Raises:
        ConfigError: the first mistake: the file is missing, is not plain YAML, or does not fit `model`.
    """
    if not path.is_file():
        raise ConfigError(str(path), "", "no such file", "give the path of a product file, e.g. deploy/products/x.yaml")
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(str(path), "", f"larger than {MAX_BYTES} bytes", "a product file is a few hundred lines")
    given, lines = _parse(path)
    data, renamed = upgrade(given)
    for old, (new, notice) in renamed.items():
        log.warning("%s:%d: %s", path, lines[old], notice)
        for location in [known for known in lines if known[: len(old)] == old]:
            lines[(*new, *location[len(old) :])] = lines[location]
    try:
        # JSON mode is strict about types, yet accepts arrays for tuples and text for times.
        return model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        raise explain(str(path), error, model, lines) from None


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
    except yaml.YAMLError:  # how yaml reports a control character
        raise ConfigError(str(path), "", "not valid YAML, it contains control characters", "remove them") from None
    lines: dict[Location, int] = {}
    data = None if node is None else _construct(path, node, (), lines)
    if data is None:
        raise ConfigError(str(path), "", "the file is empty", "`nightcast schema` prints its fields")
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
                raise ConfigError(f"{path}:{mark}", where, "a key is a list or a mapping", "use plain text")
            key = str(key_node.value)
            if key in result:
                raise ConfigError(f"{path}:{key_node.start_mark.line + 1}", where, f"'{key}' occurs twice", "keep one")
            result[key] = _construct(path, value_node, (*at, key), lines)
            lines[(*at, key)] = key_node.start_mark.line + 1
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_construct(path, item, (*at, index), lines) for index, item in enumerate(node.value)]
    if node.tag.endswith(("timestamp", "str")):
        return node.value
    if node.tag.endswith(("int", "float")) and not _NUMBER.fullmatch(node.value):  # YAML reads 1:30 as 90 and 010 as 8
        raise ConfigError(f"{path}:{line}", where, f"{node.value[:80]} is not a decimal number", "write e.g. 10 or 0.5")
    value = yaml.safe_load(node.value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{path}:{line}", where, f"{node.value} is not a finite number", "write a finite one or null")
    return value
