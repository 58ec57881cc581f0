"""The reference of product files: generated from the schema, complete, and the same as the page in the repository."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from pipeline.config.base import Strict, parse_duration
from pipeline.config.reference import product_reference, product_schema, schema_reference
from pipeline.paths import deploy_folder


class Csv(Strict):
    """How cells are written."""

    kind: Literal["csv"]
    skip: Annotated[int, Field(ge=0, le=10)] = 0
    """Lines before the header."""


class Sql(Strict):
    """A query."""

    kind: Literal["sql"]
    share: Annotated[float, Field(gt=0)] = 0.5
    """Share of rows, a|b."""


class Limits(Strict):
    """Where values lie."""

    low: float | None = None
    """Smallest value."""
    high: float = 1.0
    """Largest value."""


class Example(Strict):
    """A product of the test."""

    source: Annotated[Csv | Sql, Field(discriminator="kind")]
    """Where rows come from."""
    limits: Limits = Limits()
    sharper: Limits = Limits(high=0.5)
    """Tighter ones."""
    by_name: dict[str, Limits] = {}
    """For one name."""
    words: tuple[str, ...] = ("null", "a b")
    """Texts."""
    clock: Literal["live", "archive"] = "live"
    """Which clock."""


@pytest.fixture(scope="module")
def example() -> str:
    return schema_reference(Example.model_json_schema())


def test_the_page_in_the_repository_is_up_to_date() -> None:
    committed = (deploy_folder() / "products" / "README.md").read_text("utf-8")
    assert committed == product_reference(), "run `make reference`"


def test_every_field_of_every_block_has_a_description() -> None:
    rows = [line for line in product_reference().splitlines() if line.startswith("| `")]
    assert len(rows) > 150
    assert [row for row in rows if row.endswith("|  |")] == []


def test_every_link_of_the_page_leads_to_a_heading() -> None:
    page = product_reference()
    headings = [line.removeprefix("## ").lower() for line in page.splitlines() if line.startswith("## ")]
    anchors = [re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in headings]
    assert len(set(anchors)) == len(anchors)
    assert set(re.findall(r"\(#([^)]+)\)", page)) <= set(anchors)


@pytest.mark.parametrize("kind", ["files", "http-json", "open-meteo", "sql", "synthetic"])
def test_every_kind_of_source_has_a_section(kind: str) -> None:
    assert f"\n## `feed.source` of kind `{kind}`\n" in product_reference()


def test_default_durations_are_written_as_a_product_file_writes_them() -> None:
    def durations(node: Any) -> list[str]:
        if isinstance(node, list):
            return [text for item in node for text in durations(item)]
        if not isinstance(node, dict):
            return []
        own = [node["default"]] if "10min" in node.get("examples", ()) and "default" in node else []
        return own + [text for item in node.values() for text in durations(item)]

    found = durations(product_schema())
    assert "6h" in found
    assert all(isinstance(parse_duration(text), timedelta) for text in found)


def test_a_union_links_to_a_section_for_each_kind(example: str) -> None:
    row = "| `source` | one of [`csv`](#source-of-kind-csv), [`sql`](#source-of-kind-sql) | **required** |"
    assert f"{row} Where rows come from. |\n" in example
    assert "\n## `source` of kind `csv`\n\nHow cells are written.\n" in example
    assert "| `kind` | `csv` | **required** | Selects this kind. |\n" in example


def test_a_number_shows_its_range_and_a_bar_is_escaped(example: str) -> None:
    assert "| `skip` | integer (0 to 10) | `0` | Lines before the header. |\n" in example
    assert "| `share` | number (> 0) | `0.5` | Share of rows, a\\|b. |\n" in example


def test_a_block_is_described_once_and_names_its_other_places(example: str) -> None:
    assert example.count("Where values lie.\n\nAlso at `sharper`, `by_name.NAME`.\n") == 1
    assert example.count("\n## `limits`\n") == 1
    assert "| `by_name` | mapping of name to [block](#limits) | `{}` | For one name. |\n" in example


def test_a_block_inherits_its_description_and_shows_only_what_differs_from_its_defaults(example: str) -> None:
    assert "| `limits` | [block](#limits) | see block | Where values lie. |\n" in example
    assert "| `sharper` | [block](#limits) | `{high: 0.5}` | Tighter ones. |\n" in example


def test_defaults_are_yaml(example: str) -> None:
    assert "| `words` | list of text | `['null', a b]` | Texts. |\n" in example
    assert "| `clock` | `live`, `archive` | `live` | Which clock. |\n" in example
    assert "| `low` | number or null | `null` | Smallest value. |\n" in example
