"""The job `explain`: what the forecasts of a version rest on, and what moves its newest forecast."""

from __future__ import annotations

from datetime import datetime

from models.errors import ModelError
from pipeline.errors import NightcastError, UsageError
from pipeline.features.snapshot import take_snapshot
from pipeline.forecasting.influences import influences_at_issue
from pipeline.jobs.clock import now_of
from pipeline.jobs.job import Result, Runner, call
from pipeline.registry.bundle import Bundle, Fit
from pipeline.registry.explanations import read_explanation, save_explanation
from pipeline.registry.standing import standing_before
from pipeline.registry.versions import RegisteredVersion
from pipeline.training.explanation.explain import explain as explain_model
from pipeline.training.explanation.explain import unseen_issues
from pipeline.training.explanation.facts import Explanation, Influence
from pipeline.training.folds import split
from pipeline.workspace import Workspace


class ExplainResult(Result):
    """What the forecasts of one version rest on."""

    version: int
    digest: str
    """Digest of its bundle."""
    computed: bool
    """Whether it was computed now, because the version was registered without it."""
    explanation: Explanation
    issue_time: datetime
    """Issue time of the newest forecast."""
    influences: tuple[Influence, ...]
    """How each group of inputs moves the median of the newest forecast, greatest first; empty where it cannot be
    forecast, or is too large."""
    units: dict[str, str]
    """Units of each variable."""
    note: str = ""
    """Why the newest forecast is not explained."""


def explain(
    ws: Workspace, *, version: int | None = None, at: datetime | None = None, run: Runner = call
) -> ExplainResult:
    """Return what the forecasts of a version rest on, by default of the champion.

    What was recorded with the version is returned; for a version without it, it is computed on the issue times that its
    judged fit has not seen, and kept.

    Raises:
        UsageError: there is no such version, or no champion yet.
        TrackingError: MLflow cannot be reached.
        ModelError: its files are missing or damaged, or it was made for other locations or variables.
        NoDataError: there are too few issue times that it has not seen.
    """
    product, now = ws.product, now_of(ws, at)
    registered = _registered(ws, version)
    bundle = ws.bundles.open(registered.version, registered.digest)
    explanation = read_explanation(bundle)
    computed = explanation is None
    if explanation is None:
        explanation = run(_compute, ws, bundle, now)
        save_explanation(bundle, explanation)
    issue_time, note = ws.cadence.latest_issue(now), ""
    influences: tuple[Influence, ...] = ()
    try:
        if fit := _serving_fit(ws, registered, bundle, issue_time):
            influences = run(influences_at_issue, product, ws.cadence, ws.feed, ws.covariates, fit, issue_time)
    except (NightcastError, ModelError) as error:
        note = str(error)
    return ExplainResult(
        product=product.name,
        version=registered.version,
        digest=bundle.digest,
        computed=computed,
        explanation=explanation,
        issue_time=issue_time,
        influences=influences,
        units={name: product.feed.variable(name).units for name in explanation.variables},
        note=note,
    )


def _registered(ws: Workspace, version: int | None) -> RegisteredVersion:
    name = ws.product.name
    if version is None:
        champion = ws.registry.by_alias("champion")
        if champion is None:
            raise UsageError(f"{name}: no champion yet; run `nightcast retrain`, or name a version with --version")
        return champion
    found = next((one for one in ws.registry.versions() if one.version == version), None)
    if found is None:
        raise UsageError(f"{name}: no version {version}; `nightcast models` lists all versions")
    return found


def _serving_fit(ws: Workspace, registered: RegisteredVersion, bundle: Bundle, issue_time: datetime) -> Fit | None:
    """Return the fit of a version that serves at an issue time; None if all have seen later data."""
    standing = standing_before(ws.ledger, issue_time)
    if standing.judged and registered.version in standing.versions[-1:]:
        return bundle.judged
    return bundle.fit_at(issue_time)


def _compute(ws: Workspace, bundle: Bundle, now: datetime) -> Explanation:
    """Return the explanation of the judged fit of a bundle."""
    snapshot = take_snapshot(ws.product, ws.cadence, ws.feed, ws.covariates, known_by=now)
    judged = bundle.judged
    return explain_model(judged.challenger(), snapshot, unseen_issues(split(snapshot), judged.data_until))
