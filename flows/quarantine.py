"""The flow `release`."""

from __future__ import annotations

from typing import Any

from prefect import State, flow
from prefect.states import Completed

from flows.parameters import Part, ProductFile, Reason
from flows.running import run_job, run_name
from pipeline.config import Product
from pipeline.jobs import release as release_job
from pipeline.jobs.release import ReleaseResult
from pipeline.workspace import Workspace


@flow(name="release", flow_run_name=run_name, timeout_seconds=3600, log_prints=True, persist_result=False)
def release(product: ProductFile, reason: Part, who: Reason, why: Reason, override: bool = False) -> State[Any]:
    """Let refused rows enter the observations by the same door: decoded and judged anew by today's product file.

    Args:
        product: Path of the product file on the worker's machine.
        reason: Rows whose reason holds this text.
        who: Who releases them.
        why: Why; it is recorded.
        override: Let values in that the contract refuses.
    """

    def job(it: Workspace) -> ReleaseResult:
        return release_job.release(it, who=who, why=why, reason=reason, override=override)

    return run_job(product, job, _tell)


def _tell(product: Product, result: ReleaseResult) -> State[Any]:
    return Completed(message=f"{result.rows:,} rows released: {result.accepted:,} new, {result.revised:,} revised")
