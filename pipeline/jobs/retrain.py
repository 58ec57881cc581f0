"""The job `retrain`: train candidates on a snapshot, choose a challenger, and ask the gate."""

from __future__ import annotations

import logging
from datetime import datetime

from models.base import Epoch
from models.errors import ModelError
from pipeline.errors import RefusedError
from pipeline.features.snapshot import take_snapshot
from pipeline.features.windows import make_task
from pipeline.jobs.clock import now_of
from pipeline.jobs.job import OnProgress, Progress, Result, Runner, call, ignore_progress
from pipeline.registry.record import Candidate, recall, record
from pipeline.training.comparison import Champion
from pipeline.training.fit import check_candidates
from pipeline.training.folds import split
from pipeline.training.holdout import evaluate_holdout, fit_all, training_key
from pipeline.training.verdict import Verdict
from pipeline.workspace import Workspace

log = logging.getLogger(__name__)


class RetrainResult(Result):
    """The outcome of one retrain."""

    at: datetime
    snapshot: str
    """Digest of everything that training saw."""
    version: int
    """Registry version of the challenger."""
    digest: str
    """Digest of the challenger's checkpoint."""
    run_id: str
    """MLflow run."""
    champion: int | None
    """Registry version in service afterwards."""
    verdict: Verdict
    repeated: bool
    """Whether the same snapshot had been trained before, so that nothing was done."""
    candidates: tuple[Candidate, ...] = ()
    """In the order of the product file; empty for a retrain that was recorded without them."""
    warnings: tuple[str, ...] = ()
    """Problems of the data, one line each."""

    @property
    def exit_code(self) -> int:
        """4 if the gate refused the challenger."""
        return 0 if self.verdict.promoted else RefusedError.exit_code


def retrain(
    ws: Workspace,
    *,
    at: datetime | None = None,
    run: Runner = call,
    on_progress: OnProgress = ignore_progress,
) -> RetrainResult:
    """Train the candidates on a snapshot, choose a challenger, and let the gate decide. The same data train once.

    Raises:
        NoDataError: there are too few matured issue times.
        TrainingError: no candidate could be trained.
        TrackingError: MLflow cannot be reached. In each case the champion stays.
    """
    product = ws.product
    check_candidates(product, make_task(product, ws.cadence, ws.feed.locations))
    at = now_of(ws, at)
    snapshot = run(take_snapshot, product, ws.cadence, ws.feed, ws.covariates, known_by=at)
    folds = split(snapshot)
    warnings = tuple(
        f"covariate {name} has no rows known by {at:%Y-%m-%d %H:%M} UTC: training goes on without it, and the models "
        "learn nothing from it; run `nightcast ingest`, or check its source"
        for name in snapshot.covariates.without_rows
    )
    for line in warnings:
        log.warning("%s: %s", product.name, line)
    key = training_key(snapshot, folds)
    recorded = recall(ws.ledger, ws.registry, key)
    repeated = recorded is not None
    if recorded is None:

        def report(model: str, epoch: Epoch) -> None:
            losses = f"loss {epoch.train_loss:.4f}, validation {epoch.validation_loss:.4f}"
            on_progress(Progress(f"training {model}, epoch", epoch.epoch, epoch.epochs, losses))

        fitted, failed = run(fit_all, snapshot, folds, on_epoch=report)
        trained = run(evaluate_holdout, snapshot, folds, fitted, failed)
        recorded = run(
            record,
            snapshot,
            folds,
            trained,
            _champion(ws),
            registry=ws.registry,
            ledger=ws.ledger,
            bundles=ws.layout.models,
            observations=ws.feed.observations.table.uri,
            at=at,
            key=key,
        )
    return RetrainResult(
        product=product.name,
        at=at,
        snapshot=snapshot.digest,
        version=recorded.version,
        digest=recorded.digest,
        run_id=recorded.run_id,
        champion=recorded.champion,
        verdict=recorded.verdict,
        repeated=repeated,
        candidates=recorded.candidates,
        warnings=warnings,
    )


def _champion(ws: Workspace) -> Champion | None:
    champion = ws.registry.by_alias("champion")
    if champion is None:
        return None
    found, _ = ws.bundles.find("champion")
    try:
        return Champion(champion.version, found.bundle.challenger() if found else None)
    except ModelError:
        return Champion(champion.version, None)
