"""A run of a product's retrain, requested by a live verdict."""

from __future__ import annotations

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.logging import get_run_logger

_UNDER_WAY = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING]


def request_retrain(product: str, *, key: str) -> bool:
    """Start the retrain deployment of a product, and return whether a run was requested.

    The same key starts one run, and none while another is waiting or running; the runs that the schedule has planned
    do not count. A failure is logged only: the retrain on schedule comes anyway.
    """
    name = f"retrain/{product}"
    try:
        with get_client(sync_client=True) as client:
            deployment = client.read_deployment_by_name(name)
            if _is_under_way(client, deployment):
                return False
            # Equal keys give the run that was made first, so one that has failed is not made again.
            run = client.create_flow_run_from_deployment(deployment.id, idempotency_key=f"{product} {key}")
    except Exception as error:
        get_run_logger().warning("%s could not be started after a live verdict: %s", name, error)
        return False
    if run.state is not None and run.state.is_final():
        return False
    get_run_logger().info("requested the run %s of %s, because of a live verdict", run.name, name)
    return True


def _is_under_way(client: SyncPrefectClient, deployment: DeploymentResponse) -> bool:
    unfinished = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNDER_WAY)))
    of_deployment = DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))
    runs = client.read_flow_runs(flow_run_filter=unfinished, deployment_filter=of_deployment)
    return any(run.state_type != StateType.SCHEDULED or not run.auto_scheduled for run in runs)
