"""Runs that nobody works on any more: the ones that `up` finds Running when it starts, before its worker does."""

from __future__ import annotations

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
from prefect.states import Crashed

from flows.environment import POOL

_UNDER_WAY = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


def end_interrupted() -> int:
    """Mark every run of our pool that is under way as Crashed and return how many there were.

    Only call it while no worker runs. Their processes ended with the worker, or with the machine, and could not say
    so: without this they would stay Running, and as one deployment runs once at a time, it would never run again.
    """
    under_way = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNDER_WAY)))
    ours = WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL]))
    ended = 0
    with get_client(sync_client=True) as client:
        while runs := client.read_flow_runs(flow_run_filter=under_way, work_pool_filter=ours, limit=100):
            for run in runs:
                state: State[None] = Crashed(
                    message="Nightcast was stopped while this ran; the next run takes up the work."
                )
                client.set_flow_run_state(run.id, state, force=True)
            ended += len(runs)
    return ended
