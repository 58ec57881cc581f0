"""What a format of published forecasts provides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

from pipeline.forecasting.publish.published_forecast import PublishedForecast
from pipeline.forecasting.publish.report_data import ReportContext


@runtime_checkable
class Publisher(Protocol):
    """Writes forecasts in one format. An `Output` with these members, registered in ``nightcast.publishers``.

    Modules with a publisher import their libraries in `write`: reading a product file imports every publisher.
    """

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that `write` creates, for links on the report page."""

    def write(self, forecast: PublishedForecast, folder: Path, context: Callable[[], ReportContext]) -> None:
        """Write the forecast into a folder, which appears whole once every format is written.

        Args:
            forecast: What is published.
            folder: Where other publishers write too.
            context: Reads what a report shows beside the forecast; costs several reads of stores.
        """
