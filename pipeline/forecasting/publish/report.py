"""The forecast as a report page and a chart."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pipeline.config.output import Output
from pipeline.errors import NightcastError

if TYPE_CHECKING:
    from pipeline.forecasting.publish.published_forecast import PublishedForecast
    from pipeline.forecasting.publish.report_data import ReportContext

log = logging.getLogger(__name__)


class Report(Output):
    """Self-contained HTML page with fan charts, skill and data quality; and the charts of the first variable as SVG."""

    kind: Literal["report"]
    files: ClassVar[tuple[str, ...]] = ("report.html", "forecast.svg")

    def write(self, forecast: PublishedForecast, folder: Path, context: Callable[[], ReportContext]) -> None:
        """Write page and chart; if a store cannot be read, log the error and write neither."""
        from pipeline.forecasting.publish.publisher import Publisher
        from pipeline.forecasting.publish.report_data import report_data
        from pipeline.report import fan_svg, render

        publishers = [output for output in forecast.product.publish if isinstance(output, Publisher)]
        others = sorted({name for one in publishers for name in one.files} - set(self.files))
        try:
            page = report_data(forecast, context(), tuple((name, name) for name in others))
        except NightcastError as error:
            log.error("%s: the forecast is published without its report: %s", forecast.product.name, error)
            return
        (folder / "report.html").write_text(render(page), "utf-8")
        first = page.variables[0]
        chart = fan_svg(first, issue_time=page.issue_time, step=page.step, time_label=page.time_label)
        (folder / "forecast.svg").write_text(chart, "utf-8")
