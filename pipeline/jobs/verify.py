"""The job `verify`: score matured forecasts against observations."""

from __future__ import annotations

from datetime import datetime

from pipeline.forecasting.verification.run import score_forecasts
from pipeline.forecasting.verification.scores import LeadScore, refit_skill, scores_by_lead
from pipeline.jobs.clock import now_of
from pipeline.jobs.job import Result, Runner, call
from pipeline.workspace import Workspace


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


def verify(ws: Workspace, *, at: datetime | None = None, run: Runner = call) -> VerifyResult:
    """Score every matured forecast; a second call changes nothing."""
    now = now_of(ws, at)
    observations = ws.feed.observations
    due, scored = run(score_forecasts, ws.product, ws.cadence, ws.forecasts, observations, ws.scores, at=now)
    rows = ws.scores.read()
    return VerifyResult(
        product=ws.product.name,
        at=now,
        forecasts=due,
        scored=scored,
        scores=scores_by_lead(rows),
        refit_skill=refit_skill(rows),
    )
