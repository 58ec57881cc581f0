"""The flow `ingest`."""

from __future__ import annotations

from typing import Any

from prefect import State, flow
from prefect.states import Completed, Failed

from flows import artifacts
from flows.parameters import Instant, ProductFile
from flows.running import as_task, run_job, run_name
from pipeline.config import Product, settings
from pipeline.ingest.quality.page import quality_markdown
from pipeline.jobs import ingest as ingest_job
from pipeline.jobs.ingest import IngestResult
from pipeline.workspace import Workspace


@flow(name="ingest", flow_run_name=run_name, timeout_seconds=3600, log_prints=True, persist_result=False)
def ingest(
    product: ProductFile,
    at: Instant | None = None,
    since: Instant | None = None,
    until: Instant | None = None,
) -> State[Any]:
    """Take in what the source has new: keep the payloads, store good rows, quarantine others with a reason.

    Args:
        product: Path of the product file on the worker's machine.
        at: Instant at which the values count as learnt. Default: when they are fetched, however late the run is.
        since: First valid time to take in. Default: everything that is new.
        until: Last valid time to take in. Default: everything that is new.
    """

    def job(it: Workspace) -> IngestResult:
        return ingest_job.ingest(it, at=at, since=since, until=until, run=as_task)

    return run_job(product, job, _tell)


def _tell(product: Product, result: IngestResult) -> State[Any]:
    artifacts.publish(product.name, "ingest", *artifacts.of_ingest(result))
    checks = ingest_job.worst_report(Workspace(product, settings()), since=result.at)
    if checks is not None:
        artifacts.publish(product.name, "quality", quality_markdown(checks), f"{result.refused:,} rows refused")
    faults = [*result.faults, *(fault for one in result.covariates.values() for fault in one.faults)]
    if faults:
        return Failed(message=f"Upstream failure: {faults[0]}; {len(faults)} in all, the other payloads are stored")
    return Completed(
        message=f"{result.accepted:,} new, {result.revised:,} revised, {result.refused:,} refused rows; "
        f"newest {artifacts.minute(result.newest)}"
    )
