"""The flow `backfill`."""

from __future__ import annotations

from typing import Any

from prefect import State
from prefect.states import Completed, Failed

from flows import artifacts
from flows.artifacts import counts, minute
from flows.ingest import problems, row_counts
from flows.running import make_flow
from pipeline.jobs.backfill import BackfillResult
from pipeline.workspace import Workspace


def describe(result: BackfillResult) -> tuple[str, str]:
    """Return Markdown of what was stored of a range of the past, and one line about it."""
    span = f"{minute(result.since)} to {minute(result.until)}, part {result.part[0]} of {result.part[1]}"
    pieces = [("pieces of this part", result.pieces), ("pieces finished before", result.repeated)]
    parts = [span, counts([*pieces, *row_counts(result)]), *problems(result)]
    return "\n\n".join(parts), f"{result.added:,} new rows of {span}"


def finish(ws: Workspace, result: BackfillResult) -> State[Any]:
    """Publish the counts and return the final state."""
    artifacts.publish(ws.product.name, "backfill", *describe(result))
    if result.faults:
        return Failed(message=f"Upstream failure: {result.faults[0]}")
    return Completed(message=f"{result.pieces:,} pieces, {result.added:,} new rows, {result.refused:,} refused")


backfill = make_flow("backfill", finish)
