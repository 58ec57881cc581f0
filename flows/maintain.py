"""The flow `maintain`."""

from __future__ import annotations

from typing import Any

from prefect import State
from prefect.states import Completed, Failed

from flows import artifacts
from flows.artifacts import minute, table
from flows.running import make_flow
from pipeline.jobs.maintain import MaintainResult
from pipeline.workspace import Workspace


def describe(result: MaintainResult) -> tuple[str, str]:
    """Return Markdown of what maintenance found and did, and one line about it."""
    rows = [
        (one.table, str(one.version), str(one.compacted), str(one.removed), str(len(one.damage)))
        for one in result.tables
    ]
    parts = [
        f"Maintenance at {minute(result.at)}; {result.payloads:,} raw payloads verified.",
        table(("table", "version", "files merged", "files removed", "damaged"), rows),
    ]
    if result.damage:
        parts += ["### Damage", table(("what does not match its digest",), [(line,) for line in result.damage])]
    return "\n\n".join(parts), f"{len(result.damage)} damaged" if result.damage else "every digest matches"


def finish(ws: Workspace, result: MaintainResult) -> State[Any]:
    """Publish the tables and the damage, and return the final state."""
    artifacts.publish(ws.product.name, "maintain", *describe(result))
    if result.damage:
        return Failed(message=f"Damage: {result.damage[0]}, {len(result.damage)} in all; run it with repair")
    return Completed(message=f"{len(result.tables)} tables and {result.payloads:,} payloads match their digests")


maintain = make_flow("maintain", finish)
