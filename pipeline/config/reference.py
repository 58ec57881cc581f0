"""The JSON Schema of a product file, and the Markdown reference generated from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import yaml
from pydantic.json_schema import GenerateJsonSchema

from pipeline.config.base import format_duration
from pipeline.config.product import Product

Schema = dict[str, Any]

_DEFINITIONS = "#/$defs/"
_NAMES = {"boolean": "true or false", "string": "text", "null": "null", "object": "mapping"}
_INTRODUCTION = """\
# Product file reference

A product is one YAML file: what is forecast, from which feed, on which schedule, how models are trained and compared,
and where forecasts are published. `ireland-wind.yaml` and `auckland-footfall.yaml`, in this folder, are full examples.

- `nightcast check FILE` validates a file and reads a first payload from its source.
- `nightcast schema` prints the JSON Schema, for editors and forms.
- A duration is a number with a unit: `30s`, `10min`, `6h`, `1d`, `2w`, `10y` (a year has 365.25 days).
- A calendar step is `week`, `month` or `quarter`, in UTC, or one of these or a `day` in a zone, as in
  `day in Europe/Dublin`.
- Relative paths start at the folder of the product file.
- A field marked **required** has no default. An unknown field is an error.

This page is generated from the schema: `make reference` writes it again, and a test fails when it is out of date.
"""


class _SchemaGenerator(GenerateJsonSchema):
    """Writes default durations as a product file does, ``6h`` instead of ``PT6H``."""

    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


@dataclass
class _Block:
    """One mapping of the product file, with every path at which it may stand."""

    schema: Schema
    title: str
    paths: list[str] = field(default_factory=list)


def product_schema() -> Schema:
    """Return the JSON Schema of a product file, with every installed kind of source."""
    return Product.model_json_schema(schema_generator=_SchemaGenerator)


def product_reference() -> str:
    """Return a Markdown page with a table of fields for every block of a product file."""
    return _INTRODUCTION + schema_reference(product_schema())


def schema_reference(schema: Schema) -> str:
    """Return one Markdown section per block of a schema: the root first, nested blocks where they first occur."""
    blocks: dict[str, _Block] = {}
    _collect(schema, schema, "", "", blocks)
    anchors = {reference: _anchor(block.title) for reference, block in blocks.items()}
    return "".join(_section(block, schema, anchors) for block in blocks.values())


def _collect(node: Schema, root: Schema, reference: str, path: str, blocks: dict[str, _Block]) -> None:
    """Add a block and the blocks below it, depth first, in the order of the fields."""
    block = blocks.get(reference)
    if block is not None:
        block.paths += [] if path in block.paths else [path]
        return
    kind = node["properties"].get("kind", {}).get("const")
    title = f"`{path}` of kind `{kind}`" if kind else f"`{path}`" if path else node["title"]
    blocks[reference] = _Block(node, title, [path])
    for name, field_schema in node["properties"].items():
        for nested, suffix in _references(field_schema):
            below = f"{path}.{name}{suffix}" if path else f"{name}{suffix}"
            _collect(_resolve(nested, root), root, nested, below, blocks)


def _references(node: Schema, suffix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the definitions that a field refers to, each with what the path gains on the way: ``[]`` or ``.NAME``."""
    if "$ref" in node:
        yield node["$ref"], suffix
    for branch in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from _references(branch, suffix)
    if "items" in node:
        yield from _references(node["items"], f"{suffix}[]")
    if isinstance(node.get("additionalProperties"), dict):
        yield from _references(node["additionalProperties"], f"{suffix}.NAME")


def _resolve(reference: str, root: Schema) -> Schema:
    definition: Schema = root["$defs"][reference.removeprefix(_DEFINITIONS)]
    return definition


def _section(block: _Block, root: Schema, anchors: dict[str, str]) -> str:
    lines = [f"\n## {block.title}\n"]
    if description := block.schema.get("description"):
        lines.append(f"{_text(description)}\n")
    if others := block.paths[1:]:
        lines.append(f"Also at {', '.join(f'`{path}`' for path in others)}.\n")
    if "string" in block.schema.get("type", ""):
        severities = ", ".join(f"`{severity}`" for severity in block.schema["properties"]["severity"]["enum"])
        lines.append(f"May be written as its severity alone: {severities}.\n")
    lines += ["| field | type | default | description |", "|---|---|---|---|"]
    required = block.schema.get("required", ())
    for name, node in block.schema["properties"].items():
        default = "**required**" if name in required else _default(node, root)
        description = _description(node, root)
        lines.append(f"| `{name}` | {_cell(_type(node, anchors))} | {_cell(default)} | {_cell(_text(description))} |")
    return "\n".join(lines) + "\n"


def _description(node: Schema, root: Schema) -> str:
    """Return the description of a field, else that of the block that it holds."""
    if "const" in node:
        return "Selects this kind."
    block = _resolve(node["$ref"], root) if "$ref" in node else {}
    return str(node.get("description", block.get("description", "")))


def _type(node: Schema, anchors: dict[str, str]) -> str:
    if "$ref" in node:
        return f"[block](#{anchors[node['$ref']]})"
    if "oneOf" in node:
        kinds = node.get("discriminator", {}).get("mapping", {})
        return "one of " + ", ".join(f"[`{kind}`](#{anchors[reference]})" for kind, reference in kinds.items())
    if "anyOf" in node:
        return " or ".join(_type(branch, anchors) for branch in node["anyOf"])
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"])
    if "prefixItems" in node:
        return f"[{', '.join(_type(item, anchors) for item in node['prefixItems'])}]"
    if node.get("type") == "array":
        return f"list of {_type(node['items'], anchors)}"
    if isinstance(node.get("additionalProperties"), dict):
        return f"mapping of name to {_type(node['additionalProperties'], anchors)}"
    if "patternProperties" in node:
        return f"mapping of name to {' or '.join(_type(item, anchors) for item in node['patternProperties'].values())}"
    return _scalar(node)


def _scalar(node: Schema) -> str:
    """Return the name of a plain type with its range, as in ``integer (1 to 10000)``."""
    if "month" in node.get("examples", ()):
        return "duration or calendar step"
    if "10min" in node.get("examples", ()):
        return "duration"
    if "format" in node:
        return str(node["format"])
    kind = str(node.get("type", "any"))
    name = _NAMES.get(kind, kind)
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and high is not None:
        return f"{name} ({low} to {high})"
    bounds = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    limits = ", ".join(f"{sign} {node[bound]}" for bound, sign in bounds.items() if bound in node)
    return f"{name} ({limits})" if limits else name


def _default(node: Schema, root: Schema) -> str:
    value = node.get("default")
    if "$ref" in node and isinstance(value, dict):
        fields = _resolve(node["$ref"], root)["properties"]
        value = {name: given for name, given in value.items() if given != fields[name].get("default")}
        if not value:
            return "see block"
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
    text = text.strip().removesuffix("...").strip()  # YAML ends a document that is a plain scalar with "..."
    return f"`{text}`"


def _text(description: str) -> str:
    return " ".join(description.replace("``", "`").split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _anchor(title: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
