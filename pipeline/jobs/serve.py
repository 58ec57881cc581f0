"""Which model serves: the jobs `models`, `promote` and `rollback`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Literal

from models.errors import ModelError
from pipeline.errors import GateError
from pipeline.results import LedgerEntry, ModelsResult, ModelVersion, PromotionResult
from pipeline.workspace import Workspace


def models(ws: Workspace) -> ModelsResult:
    """Return the registry versions of a product and its ledger, newest first.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    versions = tuple(
        ModelVersion(
            version=one.version,
            model=one.model,
            aliases=tuple(sorted(one.aliases)),
            digest=one.digest,
            trained_until=one.trained_until,
            crps=one.crps,
            verdict=one.verdict,
            run_id=one.run_id,
        )
        for one in ws.registry.versions()
    )
    ledger = tuple(LedgerEntry.model_validate(asdict(row)) for row in ws.ledger.read())
    return ModelsResult(product=ws.product.name, versions=versions, ledger=ledger)


def promote(ws: Workspace, *, version: int, who: str, why: str, at: datetime | None = None) -> PromotionResult:
    """Put a version into service by a person's word, past the gate; the ledger says who and why.

    Raises:
        GateError: there is no such version, or its files are not what the registry names.
    """
    return _serve(ws, "promote", version, who, why, at or datetime.now(UTC))


def rollback(ws: Workspace, *, who: str, why: str, at: datetime | None = None) -> PromotionResult:
    """Put the version into service that served before the present champion; again, and it goes further back.

    Raises:
        GateError: nothing served before, or it cannot be loaded any more.
    """
    present = ws.registry.by_alias("champion")
    before = ws.ledger.before(present.version) if present else None
    if before is None:
        raise GateError(
            f"{ws.product.name}: no version served before the present champion; `nightcast models` lists them all"
        )
    return _serve(ws, "rollback", before, who, why, at or datetime.now(UTC))


def _serve(
    ws: Workspace,
    action: Literal["promote", "rollback"],
    version: int,
    who: str,
    why: str,
    at: datetime,
) -> PromotionResult:
    product, registry = ws.product, ws.registry
    if version not in [one.version for one in registry.versions()]:
        raise GateError(f"{product.name}: no version {version}; `nightcast models` lists them all")
    try:
        ws.bundles.open(version, registry.version(version).digest).challenger()
    except ModelError as error:
        raise GateError(f"{product.name}: version {version} cannot serve, {error}") from error
    present = registry.by_alias("champion")
    previous = present.version if present else None
    ws.ledger.write(
        "rollback" if action == "rollback" else "promoted",
        at=at,
        version=version,
        previous=previous,
        who=who,
        why=why,
        key=f"{action} {version} {at.isoformat()}",
    )
    registry.set_alias("champion", version)
    return PromotionResult(
        product=ws.product.name,
        action=action,
        version=version,
        previous=previous,
        who=who,
        why=why,
    )
