"""The job `verify`: score matured forecasts against observations, and judge whether the champion still has skill."""

from __future__ import annotations

from datetime import datetime

from pipeline.forecasting.verification.live_verdict import update_standing
from pipeline.forecasting.verification.run import score_forecasts
from pipeline.forecasting.verification.scores import LeadScore, refit_skill, scores_by_lead
from pipeline.jobs.clock import now_of
from pipeline.jobs.job import Facts, Result, Runner, call
from pipeline.registry.standing import Serving, Standing, tag_standing
from pipeline.workspace import Workspace


class LiveStatus(Facts):
    """What serves, as live verdicts have it."""

    serving: Serving
    reason: str
    """Why, in one sentence; empty if the champion serves and has served all along."""
    since: datetime | None
    """Time of the live verdict; None without one."""
    retrain_requested: datetime | None
    """Time of the live verdict that asked for a retrain; None without one, or if there was a retrain since."""

    @classmethod
    def of(cls, standing: Standing) -> LiveStatus:
        """Return the facts of a standing."""
        step = standing.step
        return cls(
            serving=standing.serving,
            reason=standing.reason,
            since=step.at if step else None,
            retrain_requested=standing.retrain_requested,
        )


class VerifyResult(Result):
    """The scores of matured forecasts."""

    at: datetime
    forecasts: int
    """Issue times whose first value is due."""
    scored: int
    """Values of the published forecasts that were scored."""
    scores: tuple[LeadScore, ...]
    """By model, variable and lead, over shared valid times; the published forecast is called 'published'."""
    refit_skill: dict[str, float] = {}
    """CRPS skill of the serving models, fitted on all data, over the fits that the gate judged, by variable."""
    live: LiveStatus
    """What serves from now on."""


def verify(ws: Workspace, *, at: datetime | None = None, run: Runner = call) -> VerifyResult:
    """Score every matured forecast, and step down from a champion that is shown to be worse than the best baseline.

    A second call changes nothing.
    """
    now = now_of(ws, at)
    observations = ws.feed.observations
    due, scored = run(score_forecasts, ws.product, ws.cadence, ws.forecasts, observations, ws.scores, at=now)
    standing = run(
        update_standing,
        ws.product,
        ws.cadence,
        ws.forecasts,
        observations,
        ws.live_scores,
        ws.ledger,
        ws.bundles.baselines,
        at=now,
    )
    if standing.step is not None and standing.step.at == now:
        tag_standing(ws.ledger, ws.registry)
    rows = ws.scores.read(until=now)
    return VerifyResult(
        product=ws.product.name,
        at=now,
        forecasts=due,
        scored=scored,
        scores=scores_by_lead(rows),
        refit_skill=refit_skill(rows),
        live=LiveStatus.of(standing),
    )
