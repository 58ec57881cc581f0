"""The flows `promote` and `rollback`: somebody changes the champion, with a reason that the ledger keeps."""

from __future__ import annotations

from typing import Any

from prefect import State, flow
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.parameters import ProductFile, Reason, Version
from flows.running import run_job, run_name, scheduled_time
from pipeline.config import Product
from pipeline.jobs import promote as promote_job
from pipeline.jobs.promote import PromotionResult
from pipeline.workspace import Workspace


@flow(name="promote", flow_run_name=run_name, timeout_seconds=600, log_prints=True, persist_result=False)
def promote(product: ProductFile, version: Version, why: Reason, who: str = "") -> State[Any]:
    """Make a registered version the champion. The gate is not asked again; the ledger keeps the reason.

    Args:
        product: Path of the product file on the worker's machine.
        version: Version in the model registry that shall serve.
        why: Why it shall serve; written into the ledger.
        who: Your name, written into the ledger. Default: the name of this run.
    """

    def job(it: Workspace) -> PromotionResult:
        return promote_job.promote(it, version=version, who=who or _run(), why=why, at=scheduled_time())

    return run_job(product, job, _tell)


@flow(name="rollback", flow_run_name=run_name, timeout_seconds=600, log_prints=True, persist_result=False)
def rollback(product: ProductFile, why: Reason, who: str = "") -> State[Any]:
    """Put the champion that served before back into service. The ledger keeps the reason.

    Args:
        product: Path of the product file on the worker's machine.
        why: Why the present champion shall go; written into the ledger.
        who: Your name, written into the ledger. Default: the name of this run.
    """

    def job(it: Workspace) -> PromotionResult:
        return promote_job.rollback(it, who=who or _run(), why=why, at=scheduled_time())

    return run_job(product, job, _tell)


def _run() -> str:
    return f"Prefect run {flow_run.name}"


def _tell(product: Product, result: PromotionResult) -> State[Any]:
    before = f", instead of version {result.previous}" if result.previous else ""
    return Completed(message=f"Version {result.version} is champion of {product.name}{before}")
