"""The flow `forecast`."""

from __future__ import annotations

from typing import Any

from prefect import State, flow
from prefect.states import Completed

from flows import artifacts
from flows.parameters import Instant, ProductFile
from flows.running import as_task, now_of, run_job, run_name
from pipeline.config import Product
from pipeline.jobs import forecast as forecast_job
from pipeline.jobs.forecast import ForecastResult
from pipeline.workspace import Workspace


@flow(name="forecast", flow_run_name=run_name, timeout_seconds=3600, log_prints=True, persist_result=False)
def forecast(
    product: ProductFile,
    at: Instant | None = None,
    since: Instant | None = None,
    until: Instant | None = None,
) -> State[Any]:
    """Publish the forecast of the latest issue time, from the champion or the best fallback.

    Args:
        product: Path of the product file on the worker's machine.
        at: Instant that counts as now; the last issue time up to it is forecast. Default: the time for which
            the run was scheduled.
        since: First issue time of a range to forecast instead.
        until: Last issue time of that range.
    """

    def job(it: Workspace) -> list[ForecastResult]:
        return forecast_job.forecast(it, at=now_of(it.product, at, "forecast"), since=since, until=until, run=as_task)

    return run_job(product, job, _tell)


def _tell(product: Product, results: list[ForecastResult]) -> State[Any]:
    if not results:
        return Completed(message="No issue time lies in the range")
    last = results[-1]
    artifacts.publish(product.name, "forecast", *artifacts.of_forecast(product.title or product.name, last))
    many = f"{len(results)} forecasts, the last " if len(results) > 1 else ""
    again = ", published before" if last.repeated else ""
    return Completed(
        message=f"{many}issued {artifacts.minute(last.issue_time)}, "
        f"fallback level {last.fallback_level} ({last.fallback_level.label}){again}"
    )
