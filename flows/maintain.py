"""The flow `maintain`."""

from __future__ import annotations

from typing import Any

from prefect import State, flow
from prefect.states import Completed, Failed

from flows import artifacts
from flows.parameters import Instant, ProductFile
from flows.running import as_task, run_job, run_name
from pipeline.config import Product
from pipeline.jobs import maintain as maintain_job
from pipeline.jobs.maintain import MaintainResult
from pipeline.workspace import Workspace


@flow(name="maintain", flow_run_name=run_name, timeout_seconds=6 * 3600, log_prints=True, persist_result=False)
def maintain(product: ProductFile, repair: bool = False, at: Instant | None = None) -> State[Any]:
    """Check every digest, make many small files few, and delete what nothing names any more.

    Args:
        product: Path of the product file on the worker's machine.
        repair: Set damaged commits aside, and take their payloads in again.
        at: Instant from which the age of files counts. Default: when the run starts.
    """

    def job(it: Workspace) -> MaintainResult:
        return maintain_job.maintain(it, repair=repair, at=at, run=as_task)

    return run_job(product, job, _tell)


def _tell(product: Product, result: MaintainResult) -> State[Any]:
    artifacts.publish(product.name, "maintain", *artifacts.of_maintain(result))
    if result.damage:
        return Failed(message=f"Damage: {result.damage[0]}, {len(result.damage)} in all; run it with repair")
    return Completed(message=f"{len(result.tables)} tables and {result.payloads:,} payloads match their digests")
