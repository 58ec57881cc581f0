"""The job `retrain`: train on a snapshot, ask the gate which recipe serves, and fit that on everything known."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from math import isfinite

from models.base import Epoch
from models.errors import ModelError
from pipeline.errors import RefusedError
from pipeline.features.snapshot import take_snapshot
from pipeline.features.windows import make_task
from pipeline.forecasting.notes import describe_note
from pipeline.jobs.clock import now_of
from pipeline.jobs.job import OnProgress, Progress, Result, Runner, call, ignore_progress
from pipeline.registry.ledger import Ledger
from pipeline.registry.record import Candidate, recall, record
from pipeline.registry.retrain_run import LossLog, log_data
from pipeline.registry.standing import standing_at
from pipeline.times import stamp
from pipeline.training.budget import Budget
from pipeline.training.decision import MOST_WARM_STARTS, decide_all, extend_history
from pipeline.training.explanation.explain import explain_serving
from pipeline.training.fit import OnEpoch, check_candidates
from pipeline.training.fits import fit_all
from pipeline.training.folds import split
from pipeline.training.holdout import evaluate_holdout, training_key
from pipeline.training.recipe import Champion, Recipe
from pipeline.training.verdict import Verdict
from pipeline.workspace import Workspace

log = logging.getLogger(__name__)


class RetrainResult(Result):
    """The outcome of one retrain."""

    at: datetime
    snapshot: str
    """Digest of everything that training saw."""
    version: int
    """Registry version of the challenger, or of the champion's refresh where nothing challenged."""
    digest: str
    """Digest of its bundle."""
    run_id: str
    """MLflow run."""
    champion: int | None
    """Registry version in service afterwards."""
    verdict: Verdict
    """The verdict on that version."""
    refresh: Verdict | None
    """The verdict on the champion's recipe, fitted again on all data; None without a champion, or where a challenger
    was promoted."""
    repeated: bool
    """Whether the same snapshot had been trained before, so that nothing was done."""
    candidates: tuple[Candidate, ...] = ()
    """In the order of the product file; empty for a retrain that was recorded without them."""
    warnings: tuple[str, ...] = ()
    """Problems of the data, and why the model that serves could not be explained, one line each."""

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdict on the challenger, then that on the champion's refresh, as far as there are both."""
        return (self.verdict, *([self.refresh] if self.refresh and self.refresh != self.verdict else []))

    @property
    def refreshed(self) -> bool:
        """Whether a new fit of the champion's recipe serves."""
        return self.refresh is not None and self.refresh.decision == "refreshed"

    @property
    def exit_code(self) -> int:
        """4 if neither a challenger was promoted nor the champion refreshed."""
        return 0 if self.verdict.promoted or self.refreshed else RefusedError.exit_code


def retrain(
    ws: Workspace,
    *,
    at: datetime | None = None,
    run: Runner = call,
    on_progress: OnProgress = ignore_progress,
) -> RetrainResult:
    """Train the candidates on a snapshot, and let the gate decide which recipe serves. The same data train once.

    Whatever serves is then fitted on everything known. If no challenger is promoted, that refreshes the champion.

    Raises:
        NoDataError: there are too few matured issue times.
        TrackingError: MLflow cannot be reached. In each case the champion stays.
    """
    product = ws.product
    budget = Budget(product.training.budget)
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
        champion, history = _champion(ws, at), ws.score_history.read()
        with ws.registry.run(f"retrain {stamp(at)}", key) as tracked:
            log_data(tracked, snapshot, folds, at=at, observations=ws.feed.observations.table.uri)
            report = _report(on_progress, LossLog(tracked))
            fits = run(fit_all, snapshot, folds, champion, budget, on_epoch=report)
            outcome = run(evaluate_holdout, snapshot, folds, fits)
            decisions = run(decide_all, snapshot, folds, outcome, champion, history, budget, on_epoch=report)
            ws.score_history.add(extend_history(snapshot, folds, outcome, history))
            explained = run(explain_serving, snapshot, folds, decisions, budget)
            warnings += (explained.problem,) if explained.problem else ()
            recorded = run(
                record,
                snapshot,
                outcome,
                decisions,
                champion.version if champion else None,
                run=tracked,
                registry=ws.registry,
                ledger=ws.ledger,
                bundles=ws.layout.models,
                at=at,
                key=key,
                explanation=explained.explanation,
            )
    first, last = recorded.decisions[0], recorded.decisions[-1]
    return RetrainResult(
        product=product.name,
        at=at,
        snapshot=snapshot.digest,
        version=first.version,
        digest=first.digest,
        run_id=recorded.run_id,
        champion=recorded.champion,
        verdict=first.verdict,
        refresh=last.verdict if last.verdict.kind == "refresh" else None,
        repeated=repeated,
        candidates=recorded.candidates,
        warnings=warnings,
    )


def _report(on_progress: OnProgress, losses: LossLog) -> OnEpoch:
    """Return what tells a person and the MLflow run that an epoch has ended."""

    def report(model: str, epoch: Epoch) -> None:
        losses.add(model, epoch)
        detail = f"loss {epoch.train_loss:.4f}"
        if isfinite(epoch.validation_loss):  # a fit on all data has none
            detail += f", validation {epoch.validation_loss:.4f}"
        on_progress(Progress(f"training {model}, epoch", epoch.epoch, epoch.epochs, detail))

    return report


def _champion(ws: Workspace, at: datetime) -> Champion | None:
    registered = ws.registry.by_alias("champion")
    if registered is None:
        return None
    found, notes = ws.bundles.find("champion")
    if found is None:
        log.warning("%s: %s", ws.product.name, "; ".join(map(describe_note, notes)))
        return Champion(registered.version)
    bundle, version = found.bundle, registered.version
    try:
        serving = bundle.serving.challenger()
    except ModelError as error:
        log.warning("%s: champion version %d cannot be loaded: %s", ws.product.name, version, error)
        return Champion(version)
    try:
        judged = bundle.judged.challenger()
    except ModelError as error:
        log.warning("%s: the judged fit of version %d cannot be loaded: %s", ws.product.name, version, error)
        judged = None
    return Champion(
        version,
        Recipe(serving.name, serving.options()),
        serving,
        judged,
        bundle.judged.data_until,
        bundle.serving.data_until,
        # A refit that has become worse than its judged fit is not continued, nor one from which continuing has failed.
        MOST_WARM_STARTS if standing_at(ws.ledger, at).judged or _has_failed(ws.ledger, at) else bundle.warm_starts,
    )


def _has_failed(ledger: Ledger, at: datetime) -> bool:
    """Return whether the last refresh of the champion was refused because its fit on all data failed its checks."""
    for row in (row for row in ledger.read() if row.at <= at):
        if row.moves_champion:
            return False
        if row.action == "refused":
            verdict = Verdict.model_validate_json(json.dumps(json.loads(row.numbers)["verdict"]))
            if verdict.kind == "refresh":
                return any(one.kind in ("refit_failed", "refit_differs", "refit_worse") for one in verdict.objections)
    return False
