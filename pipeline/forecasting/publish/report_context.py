"""What a report shows beside the forecast, read from the stores."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path

import pandas as pd

from models.errors import CheckpointError
from pipeline.forecasting.publish.published_forecast import PublishedForecast
from pipeline.forecasting.publish.report_basis import read_basis
from pipeline.forecasting.publish.report_data import COUNTED_OVER, SHOWN_FRAMES, ReportContext
from pipeline.forecasting.verification.scores import Scores, scores_by_lead
from pipeline.ingest.feed import OpenFeed
from pipeline.registry.bundle import Bundle, read_bundle
from pipeline.registry.ledger import Entry, Ledger
from pipeline.steps import longest
from pipeline.store.observations import Observations
from pipeline.store.receipts import Receipts
from pipeline.times import Cadence


def read_report_context(
    forecast: PublishedForecast,
    cadence: Cadence,
    feed: OpenFeed,
    covariates: Mapping[str, OpenFeed],
    *,
    scores: Scores,
    ledger: Ledger,
    bundles: Path,
) -> ReportContext:
    """Return the observations, scores, ingest counts and facts about the model that the report of a forecast shows.

    Only observations known and ingests done by the issue time are used, and scores of values that were due by then. A
    score is that of the last verification: its observation may have been revised later.
    """
    issue = forecast.issue_time
    span = (SHOWN_FRAMES + 1) * longest(cadence.step) + cadence.delay
    bundle, decision = _bundle(bundles, forecast), _decision(ledger, forecast.version)
    fit = (bundle.judged if forecast.judged else bundle.fit_at(issue)) if bundle else None
    counts, reasons = _ingested(feed.receipts, issue)
    past = matured_scores(scores.read(), cadence, issue)
    return ReportContext(
        observations=feed.observations.read(known_by=issue, since=issue - span),
        scores=scores_by_lead(past),
        added=counts["accepted"],
        revised=counts["revised"],
        reasons=reasons,
        champion=bundle.model_name if bundle and decision else "",
        trained_until=fit.trained_until if fit else None,
        verdict=_verdict(ledger, forecast.version),
        intervals=_held_out_coverage(decision),
        missing=missing_locations(forecast, cadence, feed.observations),
        basis=read_basis(forecast, cadence, feed, covariates, bundle, fit) if bundle and fit else None,
    )


def matured_scores(scores: pd.DataFrame, cadence: Cadence, issue_time: datetime) -> pd.DataFrame:
    """Return the scores of the days whose values of the same lead were all due at an issue time."""
    first_not_due: dict[int, date] = {}
    open_for = cadence.horizon * longest(cadence.step) + cadence.delay
    for past in cadence.issues(issue_time - open_for, issue_time):
        for lead, valid_time in enumerate(cadence.lead_times(past), 1):
            if valid_time + cadence.delay > issue_time:
                first_not_due.setdefault(lead, past.date())
    limits = scores["lead"].map(lambda lead: first_not_due.get(lead, issue_time.date()))
    return scores[pd.to_datetime(scores["day"]) < pd.to_datetime(limits)]


def missing_locations(forecast: PublishedForecast, cadence: Cadence, observations: Observations) -> tuple[str, ...]:
    """Return the locations of a forecast without a value in the newest frame that is due at its issue time."""
    newest = cadence.origin(forecast.issue_time)
    rows = observations.read(known_by=forecast.issue_time, since=newest, until=newest)
    known = set(rows["location"].to_pylist())
    return tuple(location for location in forecast.locations.ids if location not in known)


def _held_out_coverage(decision: Entry | None) -> tuple[tuple[float, float], ...]:
    """Return nominal and held-out coverage of each interval, the widest first; empty where none is recorded."""
    numbers = json.loads(decision.numbers) if decision and decision.numbers else {}
    verdict = numbers.get("verdict", {})
    return tuple((one["nominal"], one["coverage"]) for one in verdict.get("intervals", ()))


def _bundle(bundles: Path, forecast: PublishedForecast) -> Bundle | None:
    if not forecast.digest:
        return None
    try:
        return read_bundle(bundles / forecast.digest, digest=forecast.digest)
    except CheckpointError:  # an old forecast may be published again after its model was deleted
        return None


def _ingested(receipts: Receipts, issue: datetime) -> tuple[Counter[str], dict[str, int]]:
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for receipt in receipts.recent(issue - COUNTED_OVER):
        if "payload" in receipt and datetime.fromisoformat(receipt["at"]) <= issue:
            counts.update({name: receipt[name] for name in ("accepted", "revised")})
            reasons.update(receipt["reasons"])
    return counts, dict(reasons.most_common())


def _verdict(ledger: Ledger, version: int | None) -> str:
    """Return the last decision on a version, without live verdicts, and why; empty if there is none."""
    rows = (row for row in ledger.read() if row.version == version)
    last = next((row for row in rows if row.moves_champion or row.action == "refused"), None)
    return "" if last is None else f"refused: {last.why}" if last.action == "refused" else last.why


def _decision(ledger: Ledger, version: int | None) -> Entry | None:
    """Return the last decision that put a version into service; None for the bundle of a refused challenger."""
    return next((row for row in ledger.read() if row.version == version and row.moves_champion), None)
