"""The job `retrain`: a snapshot, candidates, a challenger, and the gate's word."""

from __future__ import annotations

import logging
from datetime import datetime

from pipeline.features.snapshot import take_snapshot
from pipeline.features.windows import make_task
from pipeline.jobs.clock import now_of
from pipeline.jobs.runner import Runner, plain
from pipeline.registry.challenge import Champion
from pipeline.registry.record import Recorded, recall, record
from pipeline.results import RetrainResult
from pipeline.training.fit import Watcher, check_candidates, ignore
from pipeline.training.folds import split
from pipeline.training.holdout import evaluate_holdout, fit_all, training_key
from pipeline.workspace import Workspace

log = logging.getLogger(__name__)


def retrain(
    ws: Workspace,
    *,
    at: datetime | None = None,
    run: Runner = plain,
    watch: Watcher = ignore,
) -> RetrainResult:
    """Train the candidates on a snapshot, choose a challenger, and let the gate decide. The same data trains once.

    Raises:
        NoDataError: there is too little matured data.
        TrainingError: no candidate could be trained.
        TrackingError: MLflow cannot be reached. In each case the champion is untouched.
    """
    product = ws.product
    check_candidates(product, make_task(product, ws.cadence, ws.feed.locations))
    at = now_of(ws, at)
    snapshot = run(take_snapshot, product, ws.cadence, ws.feed, ws.covariates, known_by=at)
    folds = split(snapshot)
    warnings = tuple(
        f"covariate {name} has no rows by {at:%Y-%m-%d %H:%M} UTC: training goes on without it, and the models learn "
        "nothing from it; run `nightcast ingest`, or look at its source"
        for name in snapshot.covariates.without_rows
    )
    for line in warnings:
        log.warning("%s: %s", product.name, line)
    key = training_key(snapshot, folds)
    recorded = recall(ws.ledger, ws.registry, key)
    repeated = recorded is not None
    if recorded is None:
        fitted, failed = run(fit_all, snapshot, folds, watch=watch)
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
    return _retrained(ws, at, snapshot.digest, recorded, repeated, warnings)


def _champion(ws: Workspace) -> Champion | None:
    champion = ws.registry.by_alias("champion")
    if champion is None:
        return None
    found = ws.bundles.find("champion")
    return Champion(champion.version, found[0] if found else None)


def _retrained(
    ws: Workspace, at: datetime, snapshot: str, recorded: Recorded, repeated: bool, warnings: tuple[str, ...]
) -> RetrainResult:
    return RetrainResult(
        product=ws.product.name,
        at=at,
        snapshot=snapshot,
        version=recorded.version,
        digest=recorded.digest,
        run_id=recorded.run_id,
        champion=recorded.champion,
        verdict=recorded.verdict,
        repeated=repeated,
        candidates=recorded.candidates,
        warnings=warnings,
    )
