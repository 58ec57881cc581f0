"""The published forecast of one issue time, as arrays: what every format is written from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.config import Product
from pipeline.errors import ContractError
from pipeline.fallback_level import FallbackLevel
from pipeline.forecasting.notes import Note, NoteKind, decode_notes
from pipeline.locations import Locations

_ABOUT_FITS: tuple[NoteKind, ...] = ("live_verdict", "bundle_unusable", "model_failed", "broke_contract")


@dataclass(frozen=True)
class PublishedForecast:
    """The published forecast of one issue time."""

    product: Product
    locations: Locations
    issue_time: datetime
    valid_times: tuple[datetime, ...]
    quantile_levels: tuple[float, ...]
    quantiles: NDArray[np.float32]
    """(lead, target, location, level), in the units of each target."""
    model: str
    version: int | None
    digest: str
    fallback_level: FallbackLevel
    input_age_hours: float
    code_version: str
    notes: tuple[Note, ...]

    @property
    def judged(self) -> bool:
        """Whether the judged fit of the champion made it, after a live verdict on the refit."""
        # The fits are tried in order, and one that fails leaves a note behind that of the verdict.
        about_fits = [note for note in self.notes if note.kind in _ABOUT_FITS]
        verdict = about_fits[-1].verdict if about_fits else None
        return verdict is not None and verdict.kind == "refit_worse"

    @classmethod
    def from_rows(cls, product: Product, locations: Locations, rows: pa.Table) -> Self:
        """Return the published forecast among the stored rows of one issue time, which may come in any order.

        Locations without a row are left out, and so are rows of locations that the product no longer has.

        Raises:
            ContractError: a value of the remaining locations and variables is missing.
        """
        locations = _select(locations, set(rows["location"].unique().to_pylist()))
        targets, ids = product.forecast.targets, locations.ids
        wanted = pc.and_(
            pc.is_in(rows["location"], pa.array(ids, pa.string())),
            pc.is_in(rows["variable"], pa.array(targets, pa.string())),
        )
        rows = rows.filter(pc.and_(wanted, rows["published"]))
        if not rows.num_rows:
            problem = "the stored forecast is of other stations or variables than the product"
            raise ContractError(f"{product.name}: {problem}")
        first = rows.slice(0, 1).to_pylist()[0]
        valid_times, levels = tuple(sorted(rows["valid_time"].unique().to_pylist())), tuple(first["levels"])
        quantiles = np.full((len(valid_times), len(targets), len(ids), len(levels)), np.nan, np.float32)
        lead = pc.index_in(rows["valid_time"], pa.array(valid_times, rows.schema.field("valid_time").type)).to_numpy()
        target = pc.index_in(rows["variable"], pa.array(targets)).to_numpy()
        location = pc.index_in(rows["location"], pa.array(ids)).to_numpy()
        flat = rows["quantiles"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        quantiles[lead, target, location] = flat.reshape(len(rows), len(levels))
        if not np.isfinite(quantiles).all():
            when = f"{first['issue_time']:%Y-%m-%d %H:%M}"
            raise ContractError(f"{product.name}: the stored forecast of {when} has gaps")
        return cls(
            product=product,
            locations=locations,
            issue_time=first["issue_time"],
            valid_times=valid_times,
            quantile_levels=levels,
            quantiles=quantiles,
            model=first["model"],
            version=first["version"],
            digest=first["digest"],
            fallback_level=FallbackLevel(first["rung"]),
            input_age_hours=first["input_age_hours"],
            code_version=first["code_version"],
            notes=decode_notes(first["notes"]),
        )

    def tidy(self) -> pd.DataFrame:
        """Return one row per valid time, variable and location, with one column per quantile level, such as q0.05."""
        leads, targets, locations, _ = self.quantiles.shape
        rows = leads * targets
        valid_times = np.repeat(np.array(self.valid_times, object), targets * locations)
        frame = pd.DataFrame(
            {
                "issue_time": pd.Series([self.issue_time] * (rows * locations)).dt.as_unit("us"),
                "valid_time": pd.Series(valid_times).astype("datetime64[us, UTC]"),
                "location": list(self.locations.ids) * rows,
                "latitude": np.tile(self.locations.latitude, rows),
                "longitude": np.tile(self.locations.longitude, rows),
                "variable": np.tile(np.repeat(self.product.forecast.targets, locations), leads),
            }
        )
        flat = self.quantiles.reshape(-1, len(self.quantile_levels))
        for position, level in enumerate(self.quantile_levels):
            frame[f"q{level:g}"] = flat[:, position]
        return frame.assign(
            fallback_level=int(self.fallback_level),
            input_age_hours=self.input_age_hours,
            model=self.model,
            model_digest=self.digest,
            code_version=self.code_version,
        )


def _select(locations: Locations, ids: set[str]) -> Locations:
    """Return those locations that are among `ids`; a grid stays one only when it is complete."""
    kept = [index for index, name in enumerate(locations.ids) if name in ids]
    if len(kept) == len(locations):
        return locations
    return Locations(
        ids=tuple(locations.ids[index] for index in kept),
        names=tuple(locations.names[index] for index in kept),
        longitude=tuple(locations.longitude[index] for index in kept),
        latitude=tuple(locations.latitude[index] for index in kept),
    )
