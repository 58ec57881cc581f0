"""The key of a receipt stays the same when a field of the product file is renamed."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.config import Product
from pipeline.config.renamed import upgrade
from pipeline.ingest.feed import OpenFeed
from tests.world import make_settings


def test_the_key_has_the_names_that_fields_had_first(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("id,name,longitude,latitude\na,A,1,2\n")
    feed = {
        "source": {"kind": "files", "path": "w.csv", "format": "csv", "time": {"gather": "20min"}},
        "step": "1h",
        "clock": "record",
        "locations": {"kind": "stations", "path": "s.csv"},
        "variables": {"wind_speed": {}},
        "quality": {"memory": "7d", "checks": {"stuck": "row", "jump": {"wind_speed": 20}, "grid": "batch"}},
    }
    given = {"name": "wind", "feed": feed, "forecast": {"targets": ["wind_speed"]}}
    product = Product.model_validate_json(json.dumps(upgrade(given)[0])).within(tmp_path)
    assert OpenFeed(product.feed, make_settings(tmp_path))._description("quality") == (
        '{"source":{"kind":"files","path":"w.csv","format":"csv","time":{"gather":"20min"}},"step":"1h",'
        '"locations":{"kind":"stations","path":"s.csv"},"variables":{"wind_speed":{}},'
        '"quality":{"memory":"1w","checks":{"grid":{"severity":"batch"},"stuck":{"severity":"row"},'
        '"jump":{"at_most":{"wind_speed":20.0}}}}} a'
    )
