"""The flow `backfill`."""

from __future__ import annotations

from typing import Any

from prefect import State, flow
from prefect.states import Completed, Failed

from flows import artifacts
from flows.parameters import Count, Instant, ProductFile
from flows.running import as_task, run_job, run_name
from pipeline.config import Product
from pipeline.jobs import backfill as backfill_job
from pipeline.jobs.backfill import BackfillResult
from pipeline.workspace import Workspace


@flow(name="backfill", flow_run_name=run_name, timeout_seconds=24 * 3600, log_prints=True, persist_result=False)
def backfill(
    product: ProductFile,
    since: Instant,
    until: Instant,
    part: Count = 1,
    parts: Count = 1,
) -> State[Any]:
    """Take in a range of the past as history, piece by piece; pieces that an earlier run finished are not repeated.

    Args:
        product: Path of the product file on the worker's machine.
        since: First valid time to take in.
        until: Last valid time to take in.
        part: Which part of the work this run does, from 1.
        parts: How many parts there are; each may run on a machine of its own.
    """

    def job(it: Workspace) -> BackfillResult:
        return backfill_job.backfill(
            it,
            since=since,
            until=until,
            part=(part, parts),
            run=as_task,
            on_progress=print,
        )

    return run_job(product, job, _tell)


def _tell(product: Product, result: BackfillResult) -> State[Any]:
    artifacts.publish(product.name, "backfill", *artifacts.of_backfill(result))
    told = f"{result.pieces:,} pieces, {result.accepted:,} new rows, {result.refused:,} refused"
    return Failed(message=f"Upstream failure: {result.faults[0]}") if result.faults else Completed(message=told)
