import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Product
from pipeline.locations import Locations

MakeProduct = Callable[..., Product]


@pytest.fixture
def locations() -> Locations:
    return Locations(("A", "B", "C"), ("Ay", "Bee", "Cee"), (0.0, 1.0, 2.0), (50.0, 51.0, 52.0))


@pytest.fixture
def make_product(tmp_path: Path) -> MakeProduct:
    """A product whose source fields are the keywords; `step` and `variables` belong to its feed."""

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
