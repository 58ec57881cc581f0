"""The tiny world on the cells of a grid of two rows instead of at stations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from pipeline.config import Product, load_product
from pipeline.config.feed import Grid
from pipeline.locations import cell_ids
from tests.world import make_product, record_rows

ROWS = 2


def make_grid_product(folder: Path, *, columns: int = 2, **arguments: Any) -> Product:
    """Return what `make_product` makes, with cells row by row in the place of stations."""
    path = make_product(folder, stations=ROWS * columns, **arguments).folder / "product.yaml"
    fields = yaml.safe_load(path.read_text())
    fields["feed"]["locations"] = {
        "kind": "grid",
        "longitude": {"start": -10.0, "step": 1.0, "count": columns},
        "latitude": {"start": 52.0, "step": -0.5, "count": ROWS},
    }
    path.write_text(yaml.safe_dump(fields, sort_keys=False))
    return load_product(path)


def grid_rows(product: Product) -> pa.Table:
    """Return the CSV of a product as decoded rows of the cells."""
    rows = record_rows(product)
    names = dict(zip(sorted(set(rows["location"].to_pylist())), _ids(product), strict=True))
    column = pa.array([names[name] for name in rows["location"].to_pylist()])
    return rows.set_column(rows.schema.get_field_index("location"), "location", column)


def _ids(product: Product) -> tuple[str, ...]:
    assert isinstance(product.feed.locations, Grid)
    return cell_ids(ROWS, product.feed.locations.longitude.count)
