"""The job `search`: look for better options of a recipe, on data before the held-out period of the gate."""

from __future__ import annotations

import hashlib
import logging
import time
from datetime import datetime, timedelta
from pathlib import Path

from models.base import Epoch
from pipeline.errors import UsageError
from pipeline.features.snapshot import take_snapshot
from pipeline.jobs.clock import now_of
from pipeline.jobs.job import OnProgress, Progress, Result, Runner, call, ignore_progress
from pipeline.registry.search import record_search
from pipeline.registry.tracking import TrackingError
from pipeline.training.folds import split
from pipeline.training.search.plan import SearchPlan, plan_search
from pipeline.training.search.results import SearchFindings, summarise
from pipeline.training.search.run import Limits
from pipeline.training.search.run import search as search_options
from pipeline.training.search.scoring import Scorer
from pipeline.training.search.study import open_study
from pipeline.version import code_version
from pipeline.workspace import Workspace

log = logging.getLogger(__name__)


class SearchResult(Result):
    """The outcome of one search."""

    at: datetime
    model: str
    snapshot: str
    """Digest of the data."""
    since: datetime
    """First scored issue time; all of them precede the held-out period of the gate."""
    until: datetime
    """Last scored issue time."""
    issues: int
    """Scored issue times of all inner folds."""
    folds: int
    findings: SearchFindings
    study: Path
    """The file of the study, which the next search of the same recipe continues."""
    run_id: str
    """MLflow run; empty if MLflow cannot be reached."""
    warnings: tuple[str, ...] = ()
    """Problems of the study file, one line each."""


def search(
    ws: Workspace,
    *,
    model: str,
    trials: int = 50,
    budget: timedelta = timedelta(minutes=30),
    seed: int = 0,
    at: datetime | None = None,
    run: Runner = call,
    on_progress: OnProgress = ignore_progress,
) -> SearchResult:
    """Try options of a model on inner folds, and compare the best of them with the product's present options.

    No product file is changed, and the held-out period of the gate is not read, so the gate may judge what was found
    like any other recipe. The study is kept: the next search of the same recipe continues it.

    Raises:
        UsageError: there is no such model or nothing to search, the budget is too short for a trial, or another search
            of the recipe is running.
        NoDataError: there are too few issue times.
        TrainingError: the present options cannot be scored.
        StoreError: the study cannot be read or written.
    """
    began = time.monotonic()
    if budget <= timedelta():
        raise UsageError("budget: write a time longer than 0, e.g. 30min")
    product, at = ws.product, now_of(ws, at)
    snapshot = run(take_snapshot, product, ws.cadence, ws.feed, ws.covariates, known_by=at)
    plan = run(plan_search, snapshot, split(snapshot), model)
    limits = Limits(trials, budget.total_seconds(), began)
    file = ws.layout.searches / f"{model}-{plan.study[:16]}.journal"
    warnings: list[str] = []
    findings = run(_search, plan, limits, file, warnings, seed=seed, on_progress=on_progress)
    scored = plan.inner.scored
    result = SearchResult(
        product=product.name,
        at=at,
        model=model,
        snapshot=snapshot.digest,
        since=scored[0],
        until=scored[-1],
        issues=len(scored),
        folds=len(plan.inner.folds),
        findings=findings,
        study=file,
        run_id="",
        warnings=tuple(warnings),
    )
    return run(_record, ws, plan, result)


def _search(
    plan: SearchPlan, limits: Limits, file: Path, notes: list[str], *, seed: int, on_progress: OnProgress
) -> SearchFindings:
    def on_epoch(label: str, epoch: Epoch) -> None:
        if epoch.epochs > 1:  # a baseline has one
            on_progress(Progress(f"{label}, epoch", epoch.epoch, epoch.epochs, f"loss {epoch.validation_loss:.4f}"))

    def on_trial(number: int, options: str) -> None:
        on_progress(Progress("trial", number, limits.trials, options))

    inner = plan.inner
    scorer = Scorer(inner, plan.model, plan.given, fit_seconds=plan.fit_seconds)
    with open_study(file, plan.space, seed=seed, notes=notes) as study:
        numbers, ended_by = search_options(
            study, scorer, plan.present, plan.data, limits, on_trial=on_trial, on_epoch=on_epoch
        )
        return summarise(
            study,
            numbers,
            ended_by,
            plan.data,
            inner.scored,
            inner.snapshot.cadence,
            model=plan.model,
            given=plan.given,
            seed=seed,
        )


def _record(ws: Workspace, plan: SearchPlan, result: SearchResult) -> SearchResult:
    """Return the result with its MLflow run. What was found counts, so a server that cannot be reached is only logged.

    Equal results are one run.
    """
    content = result.findings.model_dump_json(indent=1)
    key = hashlib.sha256(f"{plan.study} {plan.data} {content}".encode()).hexdigest()[:32]
    parameters = {
        "product": result.product,
        "model": result.model,
        "scored_since": result.since.isoformat(),
        "scored_until": result.until.isoformat(),
        "issues": str(result.issues),
        "study": plan.study,
        "code_version": code_version(),
    }
    try:
        run_id = record_search(
            ws.registry, result.findings, model=result.model, at=result.at, key=key, parameters=parameters
        )
    except TrackingError as error:
        log.warning("%s: the search is not recorded: %s", result.product, error)
        run_id = ""
    return result.model_copy(update={"run_id": run_id})
