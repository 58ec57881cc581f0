"""The flow `retrain`."""

from __future__ import annotations

from typing import Any

from prefect import State, flow
from prefect.states import Completed

from flows import artifacts
from flows.parameters import Instant, ProductFile
from flows.running import as_task, now_of, run_job, run_name
from pipeline.config import Product
from pipeline.jobs import retrain as retrain_job
from pipeline.jobs.retrain import RetrainResult
from pipeline.workspace import Workspace


@flow(name="retrain", flow_run_name=run_name, timeout_seconds=6 * 3600, log_prints=True, persist_result=False)
def retrain(product: ProductFile, at: Instant | None = None) -> State[Any]:
    """Train challengers on a snapshot of the data, and let the gate decide whether the best becomes champion.

    Args:
        product: Path of the product file on the worker's machine.
        at: Instant that counts as now: nothing known later is used. Default: the time for which the run was
            scheduled.
    """

    def job(it: Workspace) -> RetrainResult:
        return retrain_job.retrain(it, at=now_of(it.product, at, "retrain"), run=as_task)

    return run_job(product, job, _tell)


def _tell(product: Product, result: RetrainResult) -> State[Any]:
    artifacts.publish(product.name, "gate", *artifacts.of_retrain(result))
    verdict = result.verdict
    if result.repeated:
        return Completed(message=f"Nothing new since version {result.version} was trained. {verdict.reason}")
    if verdict.promoted:
        return Completed(message=f"Version {result.version} is champion. {verdict.reason}")
    return Completed(name="Champion kept", message=verdict.reason)
