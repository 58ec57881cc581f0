import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.config import Feed, Product
from pipeline.config.sources.files import FilesSource
from pipeline.errors import SourceError
from pipeline.ingest.sources import Payload, row_schema
from pipeline.locations import Locations

MakeProduct = Callable[..., Product]
MakeRows = Callable[..., pa.Table]


def files_source(feed: Feed) -> FilesSource:
    assert isinstance(feed.source, FilesSource)
    return feed.source


def only_payloads(fetched: Iterable[Payload | SourceError]) -> Iterator[Payload]:
    """What was fetched, none of it an error."""
    for one in fetched:
        assert isinstance(one, Payload)
        yield one


@pytest.fixture
def locations() -> Locations:
    return Locations(("A", "B", "C"), ("Ay", "Bee", "Cee"), (0.0, 1.0, 2.0), (50.0, 51.0, 52.0))


@pytest.fixture
def product() -> Product:
    fields: dict[str, Any] = {
        "name": "test",
        "feed": {
            "source": {"kind": "files", "path": "data.csv", "format": "csv"},
            "step": "1h",
            "locations": {"kind": "stations", "path": "stations.csv"},
            "variables": {"wind_speed": {"limits": [0, 60]}, "air_temperature": {}},
        },
        "forecast": {"targets": ["wind_speed"]},
    }
    return Product.model_validate_json(json.dumps(fields))


@pytest.fixture
def make_product(tmp_path: Path) -> MakeProduct:
    """Return a function that makes a product of source fields; `step` and `variables` belong to its feed."""

    def make(*, step: str = "1h", variables: dict[str, Any] | None = None, **source: Any) -> Product:
        feed = {
            "source": {"kind": "files", "path": "data.csv", "format": "csv", "layout": "wide"} | source,
            "step": step,
            "locations": {"kind": "stations", "path": "stations.csv"},
            "variables": variables or {"wind_speed": {"units": "m s-1", "limits": [0, 60]}},
        }
        fields = {"name": "test", "feed": feed, "forecast": {"targets": list(feed["variables"])}}
        return Product.model_validate_json(json.dumps(fields)).within(tmp_path)

    return make


@pytest.fixture
def make_rows(product: Product) -> MakeRows:
    """Return a function that makes rows of (valid_time, location, wind_speed, air_temperature) tuples."""

    def make(*rows: tuple[datetime | None, str | None, float | None, float | None]) -> pa.Table:
        schema = row_schema(product.feed)
        return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)

    return make
