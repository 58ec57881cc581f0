"""The flow `release`."""

from __future__ import annotations

from typing import Any

from prefect import State
from prefect.states import Completed

from flows.running import make_flow
from pipeline.jobs.release import ReleaseResult
from pipeline.workspace import Workspace


def finish(ws: Workspace, result: ReleaseResult) -> State[Any]:
    """Return the final state."""
    return Completed(message=f"{result.rows:,} rows released: {result.added:,} new, {result.revised:,} revised")


release = make_flow("release", finish)
