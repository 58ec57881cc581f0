"""The forecast as a Zarr store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pipeline.config.output import Output

if TYPE_CHECKING:
    from pipeline.forecasting.publish.published_forecast import PublishedForecast
    from pipeline.forecasting.publish.report_data import ReportContext


class Zarr(Output):
    """Zarr store (format 2) with the same variables and attributes as the NetCDF file, compressed."""

    kind: Literal["zarr"]
    files: ClassVar[tuple[str, ...]] = ()  # a folder, to which a page cannot link

    def write(self, forecast: PublishedForecast, folder: Path, context: Callable[[], ReportContext]) -> None:
        """Write the store."""
        from pipeline.forecasting.publish.cf import cf_dataset

        cf_dataset(forecast).to_zarr(folder / "forecast.zarr", mode="w", zarr_format=2, consolidated=True)
