"""Small forecasts to publish."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline.config import load_product
from pipeline.fallback_level import FallbackLevel
from pipeline.forecasting.publish.published_forecast import PublishedForecast
from pipeline.locations import read_locations
from tests.world import make_product

ISSUE = datetime(2001, 1, 2, 7, tzinfo=UTC)
GRID: dict[str, Any] = {
    "kind": "grid",
    "longitude": {"start": -10.0, "step": 0.5, "count": 4},
    "latitude": {"start": 54.0, "step": -0.25, "count": 3},
}


def make_forecast(folder: Path, *, grid: bool = False) -> PublishedForecast:
    """Return a forecast of wind at two leads; the value rises by 1 from level to level, location to location."""
    product = make_product(folder, days=3)
    if grid:
        path = folder / "product.yaml"
        fields = yaml.safe_load(path.read_text())
        fields["feed"] |= {"source": {"kind": "files", "path": "wind.nc", "format": "netcdf"}, "locations": GRID}
        path.write_text(yaml.safe_dump(fields))
        product = load_product(path)
    locations, levels = read_locations(product.feed), product.forecast.quantiles
    shape = (2, len(product.forecast.targets), len(locations), len(levels))
    return PublishedForecast(
        product=product,
        locations=locations,
        issue_time=ISSUE,
        valid_times=(datetime(2001, 1, 3, tzinfo=UTC), datetime(2001, 1, 4, tzinfo=UTC)),
        quantile_levels=levels,
        quantiles=np.arange(np.prod(shape), dtype=np.float32).reshape(shape),
        model="climatology",
        version=None,
        digest="",
        fallback_level=FallbackLevel.CLIMATOLOGY,
        input_age_hours=7.0,
        code_version="0",
        notes=(),
    )
