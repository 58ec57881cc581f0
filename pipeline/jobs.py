"""The jobs, each as its steps in order. Flows run the steps as tasks, the command line calls them plainly.

`at` is the instant that counts as now. Without it, it is the wall clock's for a live feed, and for the record of an
archive the instant at which its next value would be due.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Literal

from models.errors import ModelError
from pipeline.config import Product, Settings
from pipeline.errors import ContractError, GateError, NoDataError, UsageError
from pipeline.features.snapshot import take_snapshot
from pipeline.forecasting.predict import issue
from pipeline.forecasting.serving import Shelf
from pipeline.locations import read_locations
from pipeline.publish.background import gather, missing_stations
from pipeline.publish.table import arrange
from pipeline.publish.write import publish
from pipeline.quality.intake import fetch_payloads, take_in
from pipeline.registry.challenge import Incumbent
from pipeline.registry.ledger import Ledger
from pipeline.registry.record import Recorded, recall, record
from pipeline.registry.tracking import Registry
from pipeline.results import (
    ForecastResult,
    IngestResult,
    LedgerEntry,
    ModelsResult,
    ModelVersion,
    PromotionResult,
    RetrainResult,
    VerifyResult,
)
from pipeline.steps import Runner, plain
from pipeline.store.forecasts import Forecasts
from pipeline.store.layout import Layout
from pipeline.store.observations import Observations
from pipeline.times import Cadence
from pipeline.training.fit import Watcher, check_candidates, ignore
from pipeline.training.folds import split
from pipeline.training.retrain import fit_all, hold_trial, training_key
from pipeline.verification.run import score_matured
from pipeline.verification.scores import Scores, by_lead


def now_of(product: Product, settings: Settings, at: datetime | None = None) -> datetime:
    """Return the instant that counts as now.

    Raises:
        NoDataError: the record of an archive is empty.
    """
    if at is not None:
        return at
    if product.feed.clock == "wall":
        return datetime.now(UTC)
    newest = Observations.of(product, settings).newest()
    if newest is None:
        raise NoDataError(f"{product.name}: no observations yet; run `nightcast ingest` first")
    return newest + product.feed.delay + product.feed.step


def ingest(
    product: Product,
    settings: Settings,
    *,
    at: datetime | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    run: Runner = plain,
) -> IngestResult:
    """Fetch what is new, judge it, store the good rows and quarantine the others; a second call adds nothing.

    Raises:
        SourceError: the source cannot be reached or read.
        NoDataError: all it gave was empty.
        ContractError: every row it gave was refused.
    """
    at = at or datetime.now(UTC)
    payloads = run(fetch_payloads, product, settings, since=since, until=until)
    taken = [run(take_in, payload, product, settings, at=at, since=since, until=until) for payload in payloads]
    observations = Observations.of(product, settings)
    reasons: Counter[str] = Counter()
    for one in taken:
        reasons.update(one.reasons)
    result = IngestResult(
        product=product.name,
        at=at,
        payloads=len(payloads),
        accepted=sum(one.appended.accepted for one in taken),
        revised=sum(one.appended.revised for one in taken),
        unchanged=sum(one.appended.unchanged for one in taken),
        refused=sum(one.refused for one in taken),
        reasons=dict(reasons.most_common()),
        newest=observations.newest(),
        version=observations.table.version,
    )
    if payloads and not result.accepted + result.revised + result.unchanged:
        for one in taken:
            if one.fault is not None:
                raise one.fault
        if result.refused:
            raise ContractError(
                f"{product.name}: all {result.refused} rows were refused: {next(iter(result.reasons))}; "
                "they are in quarantine"
            )
    return result


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
    key = training_key(snapshot, folds)
    recorded = recall(product, settings, key)
    repeated = recorded is not None
    if recorded is None:
        fitted, failed = run(fit_all, snapshot, folds, watch=watch)
        trained = run(hold_trial, snapshot, folds, fitted, failed)
        recorded = run(record, snapshot, folds, trained, _incumbent(product, settings), settings, at=at, key=key)
    return _retrained(product, at, snapshot.digest, recorded, repeated)


def forecast(
    product: Product,
    settings: Settings,
    *,
    at: datetime | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    run: Runner = plain,
) -> list[ForecastResult]:
    """Forecast and publish the latest issue time, or every one in [since, until]. An issue time is published once.

    Raises:
        NoDataError: nothing was known at the issue time.
        UsageError: the window holds no issue time.
        ContractError: no rung of the ladder gave a forecast that may be published.
    """
    now = now_of(product, settings, at)
    cadence = Cadence.of(product)
    if since is None and until is None:
        issues = [cadence.latest_issue(now)]
    else:
        if since is None:
            raise UsageError("until: needs since, the first instant of the window")
        issues = list(cadence.issues(since, min(until or now, now)))
        if not issues:
            window = f"{since:%Y-%m-%d %H:%M} and {min(until or now, now):%Y-%m-%d %H:%M} UTC"
            raise UsageError(f"{product.name}: no issue time between {window}; see schedule.forecast")
    return [_forecast_one(product, settings, instant, run) for instant in issues]


def verify(product: Product, settings: Settings, *, at: datetime | None = None, run: Runner = plain) -> VerifyResult:
    """Score every matured forecast; a second call changes nothing."""
    now = now_of(product, settings, at)
    due, scored = run(score_matured, product, settings, at=now)
    table = by_lead(Scores.of(product, settings).read())
    return VerifyResult(product=product.name, at=now, forecasts=due, scored=scored, scores=table)


def models(product: Product, settings: Settings) -> ModelsResult:
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
        for one in Registry(settings, product.name).versions()
    )
    ledger = tuple(LedgerEntry.model_validate(asdict(row)) for row in Ledger.of(product, settings).read())
    return ModelsResult(product=product.name, versions=versions, ledger=ledger)


def promote(
    product: Product, settings: Settings, *, version: int, who: str, why: str, at: datetime | None = None
) -> PromotionResult:
    """Put a version into service by a person's word, past the gate; the ledger says who and why.

    Raises:
        GateError: there is no such version, or its files are not what the registry names.
    """
    return _serve(product, settings, "promote", version, who, why, at or datetime.now(UTC))


def rollback(
    product: Product, settings: Settings, *, who: str, why: str, at: datetime | None = None
) -> PromotionResult:
    """Put the version into service that served before the present champion; again, and it goes further back.

    Raises:
        GateError: nothing served before, or it cannot be loaded any more.
    """
    present = Registry(settings, product.name).by_alias("champion")
    before = Ledger.of(product, settings).before(present.version) if present else None
    if before is None:
        raise GateError(
            f"{product.name}: no version served before the present champion; `nightcast models` lists them all"
        )
    return _serve(product, settings, "rollback", before, who, why, at or datetime.now(UTC))


def _serve(
    product: Product,
    settings: Settings,
    action: Literal["promote", "rollback"],
    version: int,
    who: str,
    why: str,
    at: datetime,
) -> PromotionResult:
    registry = Registry(settings, product.name)
    if version not in [one.version for one in registry.versions()]:
        raise GateError(f"{product.name}: no version {version}; `nightcast models` lists them all")
    try:
        Shelf(product, settings).open(version, registry.version(version).digest).challenger()
    except ModelError as error:
        raise GateError(f"{product.name}: version {version} cannot serve, {error}") from error
    present = registry.by_alias("champion")
    previous = present.version if present else None
    Ledger.of(product, settings).write(
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
        product=product.name,
        action=action,
        version=version,
        previous=previous,
        who=who,
        why=why,
    )


def _incumbent(product: Product, settings: Settings) -> Incumbent | None:
    champion = Registry(settings, product.name).by_alias("champion")
    if champion is None:
        return None
    found = Shelf(product, settings).find("champion")
    return Incumbent(champion.version, found[0] if found else None)


def _retrained(product: Product, at: datetime, snapshot: str, recorded: Recorded, repeated: bool) -> RetrainResult:
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
    )


def _forecast_one(product: Product, settings: Settings, issue_time: datetime, run: Runner) -> ForecastResult:
    store = Forecasts.of(product, settings)
    fresh = False
    if not store.read(issue_time).num_rows:
        issued = run(issue, product, settings, issue_time)
        fresh = store.add(issue_time, issued.rows)
    # What is published is made from the stored rows: after a kill between the two, the same forecast appears.
    forecast = arrange(product, read_locations(product), store.read(issue_time))
    folder, new = run(publish, forecast, gather(product, settings, forecast), Layout.of(product, settings).published)
    return ForecastResult(
        product=product.name,
        issue_time=issue_time,
        rung=forecast.rung,
        model=forecast.model,
        version=forecast.version,
        digest=forecast.digest,
        input_age_hours=forecast.input_age_hours,
        missing=missing_stations(product, settings, forecast),
        folder=folder,
        repeated=not (fresh or new),
        notes=tuple(note for note in forecast.notes.split("; ") if note),
    )
