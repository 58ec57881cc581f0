"""The job `models`: list the registered versions of a product and its ledger."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from pydantic import ConfigDict

from pipeline.jobs.job import Facts, Result
from pipeline.training.verdict import Decision
from pipeline.workspace import Workspace


class ModelVersion(Facts):
    """A version in the model registry."""

    version: int
    model: str
    aliases: tuple[str, ...]
    digest: str
    trained_until: datetime
    crps: float | None
    """On the held-out issue times of its own retrain."""
    verdict: Decision | None
    """What the gate decided; None for a version that another program registered."""
    reason: str
    """The verdict in one sentence."""
    run_id: str


class LedgerEntry(Facts):
    """A promotion, refresh, refusal, rollback or live verdict."""

    model_config = ConfigDict(extra="ignore")

    at: datetime
    action: str
    version: int
    previous: int | None
    who: str
    why: str


class ModelsResult(Result):
    """The registered versions of a product and its ledger, newest first."""

    versions: tuple[ModelVersion, ...]
    ledger: tuple[LedgerEntry, ...]


def models(ws: Workspace) -> ModelsResult:
    """Return the registered versions of a product and its ledger, newest first.

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
            reason=one.reason,
            run_id=one.run_id,
        )
        for one in ws.registry.versions()
    )
    ledger = tuple(LedgerEntry.model_validate(asdict(row)) for row in ws.ledger.read())
    return ModelsResult(product=ws.product.name, versions=versions, ledger=ledger)
