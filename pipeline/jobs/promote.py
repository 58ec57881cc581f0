"""The jobs `promote` and `rollback`: change the champion by hand, past the gate."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from models.errors import ModelError
from pipeline.errors import GateError
from pipeline.jobs.clock import now_of
from pipeline.jobs.job import Result
from pipeline.registry.standing import tag_standing
from pipeline.workspace import Workspace

Action = Literal["promote", "rollback"]


class PromotionResult(Result):
    """A change of champion by hand."""

    action: Action
    version: int
    previous: int | None
    who: str
    why: str


def promote(ws: Workspace, *, version: int, who: str, why: str, at: datetime | None = None) -> PromotionResult:
    """Make a registered version the champion without asking the gate; the ledger records who did it and why.

    It serves even if a live verdict had put a baseline in the place of the champion.

    Raises:
        GateError: the version does not exist, or its files are not the registered ones.
    """
    return _make_champion(ws, "promote", version, who, why, at)


def rollback(ws: Workspace, *, who: str, why: str, at: datetime | None = None) -> PromotionResult:
    """Make the version champion that served before the current champion; a second rollback goes one further back.

    Raises:
        GateError: no version served before, or it can no longer be loaded.
    """
    current = ws.registry.by_alias("champion")
    before = ws.ledger.before(current.version) if current else None
    if before is None:
        raise GateError(
            f"{ws.product.name}: no version served before the current champion; `nightcast models` lists all versions"
        )
    return _make_champion(ws, "rollback", before, who, why, at)


def _make_champion(
    ws: Workspace, action: Action, version: int, who: str, why: str, at: datetime | None
) -> PromotionResult:
    name, registry = ws.product.name, ws.registry
    moment = at or datetime.now(UTC)
    if version not in [one.version for one in registry.versions()]:
        raise GateError(f"{name}: no version {version}; `nightcast models` lists all versions")
    try:
        ws.bundles.open(version, registry.version(version).digest).serving.challenger()
    except ModelError as error:
        raise GateError(f"{name}: version {version} cannot serve: {error}") from error
    current = registry.by_alias("champion")
    previous = current.version if current else None
    ws.ledger.write(
        "rollback" if action == "rollback" else "promoted",
        at=now_of(ws, at),
        version=version,
        previous=previous,
        who=who,
        why=why,
        key=f"{action} {version} {moment.isoformat()}",
    )
    registry.set_alias("champion", version)
    tag_standing(ws.ledger, registry)
    return PromotionResult(product=name, action=action, version=version, previous=previous, who=who, why=why)
