"""The flows `promote` and `rollback`: change the champion by hand."""

from __future__ import annotations

from typing import Any

from prefect import State
from prefect.states import Completed

from flows.running import current_time, make_flow
from pipeline.jobs.promote import PromotionResult
from pipeline.workspace import Workspace


def finish(ws: Workspace, result: PromotionResult) -> State[Any]:
    """Return the final state."""
    before = f", instead of version {result.previous}" if result.previous else ""
    return Completed(message=f"Version {result.version} is champion of {ws.product.name}{before}")


promote = make_flow("promote", finish, now=current_time)
rollback = make_flow("rollback", finish, now=current_time)
