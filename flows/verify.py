"""The flow `verify`."""

from __future__ import annotations

from typing import Any

from prefect import State, flow
from prefect.states import Completed

from flows import artifacts
from flows.parameters import Instant, ProductFile
from flows.running import as_task, now_of, run_job, run_name
from pipeline.config import Product
from pipeline.jobs import verify as verify_job
from pipeline.jobs.verify import VerifyResult
from pipeline.workspace import Workspace


@flow(name="verify", flow_run_name=run_name, timeout_seconds=3600, log_prints=True, persist_result=False)
def verify(product: ProductFile, at: Instant | None = None) -> State[Any]:
    """Score the forecasts whose time has come against what was observed.

    Args:
        product: Path of the product file on the worker's machine.
        at: Instant that counts as now. Default: the time for which the run was scheduled.
    """

    def job(it: Workspace) -> VerifyResult:
        return verify_job.verify(it, at=now_of(it.product, at, "verify"), run=as_task)

    return run_job(product, job, _tell)


def _tell(product: Product, result: VerifyResult) -> State[Any]:
    artifacts.publish(product.name, "verification", *artifacts.of_verify(result))
    return Completed(message=f"{result.scored:,} values of {result.forecasts:,} forecasts scored")
