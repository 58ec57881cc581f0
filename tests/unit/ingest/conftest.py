import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest

from pipeline.config import Product
from pipeline.ingest.sources import row_schema
from pipeline.locations import Locations

MakeRows = Callable[..., pa.Table]


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
def make_rows(product: Product) -> MakeRows:
    """Rows from (valid_time, location, wind_speed, air_temperature) tuples."""

    def make(*rows: tuple[datetime | None, str | None, float | None, float | None]) -> pa.Table:
        schema = row_schema(product.feed)
        return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)

    return make
