"""Orphaned runs: those that are still Running when `nightcast up` starts, before its worker does."""

from __future__ import annotations

from uuid import UUID

from prefect import State
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.states import Crashed

from flows.environment import POOL

_UNFINISHED = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


def crash_stale_runs() -> int:
    """Mark every unfinished run of our work pool as Crashed, and return the number of runs.

    Only call it while no worker runs. The processes of these runs ended with the worker or the machine and could not
    report it. Without this they would stay Running, and since a deployment runs once at a time, it would never run
    again. A run whose state the server does not change is tried once and not counted.
    """
    unfinished = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNFINISHED)))
    in_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL]))
    state: State[None] = Crashed(message="Nightcast was stopped during this run; the next run continues its work.")
    crashed, tried = 0, set[UUID]()
    with get_client(sync_client=True) as client:
        while True:
            found = client.read_flow_runs(flow_run_filter=unfinished, work_pool_filter=in_pool, limit=100)
            runs = [run.id for run in found if run.id not in tried]
            if not runs:
                return crashed
            results = [client.set_flow_run_state(run, state, force=True) for run in runs]
            crashed += sum(result.status == SetStateStatus.ACCEPT for result in results)
            tried.update(runs)
