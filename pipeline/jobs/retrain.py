"""The job `retrain`: a snapshot, candidates, a challenger, and the gate's word."""

from __future__ import annotations

import logging
from datetime import datetime

from pipeline.config import Product, Settings
from pipeline.features.snapshot import take_snapshot
from pipeline.forecasting.serving import BundleStore
from pipeline.jobs.clock import now_of
from pipeline.jobs.runner import Runner, plain
from pipeline.registry.challenge import Champion
from pipeline.registry.record import Recorded, recall, record
from pipeline.registry.tracking import Registry
from pipeline.results import RetrainResult
from pipeline.training.fit import Watcher, check_candidates, ignore
from pipeline.training.folds import split
from pipeline.training.holdout import evaluate_holdout, fit_all, training_key

log = logging.getLogger(__name__)


def retrain(
    product: Product,
    settings: Settings,
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
    check_candidates(product)
    at = now_of(product, settings, at)
    snapshot = run(take_snapshot, product, settings, known_by=at)
    folds = split(snapshot)
    warnings = tuple(
        f"covariate {name} has no rows by {at:%Y-%m-%d %H:%M} UTC: training goes on without it, and the models learn "
        "nothing from it; run `nightcast ingest`, or look at its source"
        for name in snapshot.ahead.without_rows
    )
    for line in warnings:
        log.warning("%s: %s", product.name, line)
    key = training_key(snapshot, folds)
    recorded = recall(product, settings, key)
    repeated = recorded is not None
    if recorded is None:
        fitted, failed = run(fit_all, snapshot, folds, watch=watch)
        trained = run(evaluate_holdout, snapshot, folds, fitted, failed)
        recorded = run(record, snapshot, folds, trained, _incumbent(product, settings), settings, at=at, key=key)
    return _retrained(product, at, snapshot.digest, recorded, repeated, warnings)


def _incumbent(product: Product, settings: Settings) -> Champion | None:
    champion = Registry(settings, product.name).by_alias("champion")
    if champion is None:
        return None
    found = BundleStore(product, settings).find("champion")
    return Champion(champion.version, found[0] if found else None)


def _retrained(
    product: Product, at: datetime, snapshot: str, recorded: Recorded, repeated: bool, warnings: tuple[str, ...]
) -> RetrainResult:
    return RetrainResult(
        product=product.name,
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
