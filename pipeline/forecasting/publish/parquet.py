"""The forecast as a tidy table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pipeline.config.output import Output

if TYPE_CHECKING:
    from pipeline.forecasting.publish.published_forecast import PublishedForecast
    from pipeline.forecasting.publish.report_data import ReportContext


class Parquet(Output):
    """Tidy table: one row per valid time, location and variable, one column per quantile level."""

    kind: Literal["parquet"]
    files: ClassVar[tuple[str, ...]] = ("forecast.parquet",)

    def write(self, forecast: PublishedForecast, folder: Path, context: Callable[[], ReportContext]) -> None:
        """Write the table."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pandas(forecast.tidy(), preserve_index=False)
        pq.write_table(table, folder / self.files[0])
