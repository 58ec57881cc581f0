"""The published forecast as one table, the form that every other form is made from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.config import Product
from pipeline.errors import ContractError
from pipeline.fallback_level import FallbackLevel
from pipeline.forecasting.notes import Note, decode_notes
from pipeline.locations import Locations


@dataclass(frozen=True)
class PublishedForecast:
    """The published rows of one issue time, arranged.

    `quantiles` is (lead, target, location, level), in the units of each target.
    """

    product: Product
    locations: Locations
    issue_time: datetime
    valid_times: tuple[datetime, ...]
    levels: tuple[float, ...]
    quantiles: NDArray[np.float32]
    model: str
    version: int | None
    digest: str
    fallback_level: FallbackLevel
    input_age_hours: float
    code_version: str
    notes: tuple[Note, ...]

    def tidy(self) -> pd.DataFrame:
        """Return one row a valid time, location and variable, with a column a level, e.g. q0.05."""
        leads, targets, places, _ = self.quantiles.shape
        frame = pd.DataFrame(
            {
                "issue_time": pd.Series([self.issue_time] * (leads * targets * places)).dt.as_unit("us"),
                "valid_time": pd.Series(np.repeat(np.array(self.valid_times, object), targets * places)).astype(
                    "datetime64[us, UTC]"
                ),
                "location": list(self.locations.ids) * (leads * targets),
                "variable": np.tile(np.repeat(self.product.forecast.targets, places), leads),
            }
        )
        flat = self.quantiles.reshape(-1, len(self.levels))
        for position, level in enumerate(self.levels):
            frame[f"q{level:g}"] = flat[:, position]
        return frame.assign(
            fallback_level=int(self.fallback_level),
            input_age_hours=self.input_age_hours,
            model=self.model,
            model_digest=self.digest,
            code_version=self.code_version,
        )


def arrange(product: Product, locations: Locations, rows: pa.Table) -> PublishedForecast:
    """Arrange the published rows of one issue time; the order of the rows does not matter.

    Stations that the product has lost since are left out, and so are those that it has got.

    Raises:
        ContractError: the rows do not hold every value of the stations and variables that are left.
    """
    locations = _forecast_for(locations, set(rows["location"].unique().to_pylist()))
    ours = pc.is_in(rows["location"], pa.array(locations.ids, pa.string()))
    ours = pc.and_(ours, pc.is_in(rows["variable"], pa.array(product.forecast.targets, pa.string())))
    rows = rows.filter(pc.and_(ours, rows["published"]))
    if not rows.num_rows:
        raise ContractError(f"{product.name}: the stored forecast is of other stations or variables than the product")
    first = rows.slice(0, 1).to_pylist()[0]
    valid = tuple(sorted(rows["valid_time"].unique().to_pylist()))
    targets, places, levels = product.forecast.targets, locations.ids, tuple(first["levels"])
    quantiles = np.full((len(valid), len(targets), len(places), len(levels)), np.nan, np.float32)
    lead = pc.index_in(rows["valid_time"], pa.array(valid, rows.schema.field("valid_time").type)).to_numpy()
    target = pc.index_in(rows["variable"], pa.array(targets)).to_numpy()
    place = pc.index_in(rows["location"], pa.array(places)).to_numpy()
    flat = rows["quantiles"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    quantiles[lead, target, place] = flat.reshape(len(rows), len(levels))
    if not np.isfinite(quantiles).all():
        raise ContractError(f"{product.name}: the stored forecast of {first['issue_time']:%Y-%m-%d %H:%M} has gaps")
    return PublishedForecast(
        product,
        locations,
        first["issue_time"],
        valid,
        levels,
        quantiles,
        first["model"],
        first["version"],
        first["digest"],
        FallbackLevel(first["rung"]),
        first["input_age_hours"],
        first["code_version"],
        decode_notes(first["notes"]),
    )


def _forecast_for(locations: Locations, ids: set[str]) -> Locations:
    kept = [place for place, station in enumerate(locations.ids) if station in ids]
    return Locations(
        ids=tuple(locations.ids[place] for place in kept),
        names=tuple(locations.names[place] for place in kept),
        longitude=tuple(locations.longitude[place] for place in kept),
        latitude=tuple(locations.latitude[place] for place in kept),
    )
