"""The forecast as a CF NetCDF file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pipeline.config.output import Output

if TYPE_CHECKING:
    from pipeline.forecasting.publish.published_forecast import PublishedForecast
    from pipeline.forecasting.publish.report_data import ReportContext


class NetCdf(Output):
    """CF-1.11 NetCDF: a grid with latitude and longitude, or stations as time series."""

    kind: Literal["netcdf"]
    files: ClassVar[tuple[str, ...]] = ("forecast.nc",)

    def write(self, forecast: PublishedForecast, folder: Path, context: Callable[[], ReportContext]) -> None:
        """Write the file."""
        from pipeline.forecasting.publish.cf import cf_dataset

        cf_dataset(forecast).to_netcdf(folder / self.files[0], engine="netcdf4")
