"""What stubbed jobs give back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.fallback_level import FallbackLevel
from pipeline.forecasting.verification.scores import LeadScore
from pipeline.jobs.backtest import BacktestResult
from pipeline.jobs.explain import ExplainResult
from pipeline.jobs.forecast import ForecastResult
from pipeline.jobs.ingest import IngestResult
from pipeline.jobs.promote import PromotionResult
from pipeline.jobs.retrain import RetrainResult
from pipeline.jobs.search import SearchResult
from pipeline.jobs.verify import LiveStatus, VerifyResult
from pipeline.training.backtest.results import BacktestScores, Problem, Score, Skill
from pipeline.training.explanation.facts import Explanation, GroupLoss
from pipeline.training.search.comparison import Comparison
from pipeline.training.search.results import SearchFindings, TrialResult
from pipeline.training.verdict import Objection, Rival, Verdict

NOW = datetime(1978, 12, 31, 7, tzinfo=UTC)
HOSTILE = "<img src=x onerror=alert(1)>|[x](javascript:alert(1))`**\n# \u202egnp.exe"


def ingested(reasons: dict[str, int] | None = None) -> IngestResult:
    return IngestResult(
        product="wind",
        at=NOW,
        payloads=1,
        added=78_888,
        revised=2,
        unchanged=5,
        refused=sum((reasons or {}).values()),
        thinned=0,
        reasons=reasons or {},
        warnings=(),
        faults=(),
        newest=NOW,
        version=3,
    )


def verdict(*, promoted: bool = False, rival: str = "ridge-var v2") -> Verdict:
    one = Rival(rival=rival, crps=1.31, crps_by_lead=(1.1, 1.3), skill=0.004, p_value=0.31, beaten=promoted)
    objection = Objection(kind="not_shown_better", rival=rival, skill=0.004, p_value=0.31)
    return Verdict(
        objections=() if promoted else (objection,),
        challenger="attention-convlstm",
        issues=180,
        since=NOW - timedelta(days=180),
        until=NOW,
        crps=1.29,
        crps_by_lead=(1.08, 1.29),
        coverage=0.883,
        nominal_coverage=0.9,
        outage_crps=1.35,
        rivals=(one,),
    )


def retrained(decision: Verdict, *, repeated: bool = False) -> RetrainResult:
    return RetrainResult(
        product="wind",
        at=NOW,
        snapshot="ab" * 32,
        version=3,
        digest="cd" * 32,
        run_id="ef" * 16,
        champion=2,
        verdict=decision,
        refresh=None,
        repeated=repeated,
    )


def forecasted(folder: Path, *, missing: tuple[str, ...] = ()) -> ForecastResult:
    return ForecastResult(
        product="wind",
        issue_time=NOW,
        fallback_level=FallbackLevel.CHAMPION_WITH_GAPS if missing else FallbackLevel.CHAMPION,
        model="ridge-var",
        version=2,
        digest="cd" * 32,
        input_age_hours=7.0,
        missing=missing,
        folder=folder,
        repeated=False,
    )


def verified(live: LiveStatus | None = None) -> VerifyResult:
    score = LeadScore(
        model="published",
        variable="wind_speed",
        lead=1,
        count=360,
        crps=1.1,
        mae=1.5,
        rmse=2.0,
        bias=-0.01,
        coverage=0.89,
    )
    live = live or LiveStatus(serving="champion", reason="", since=None, retrain_requested=None)
    return VerifyResult(product="wind", at=NOW, forecasts=30, scored=1080, scores=(score,), live=live)


def backtested(*, missing: int = 0, model: str = "ridge-var") -> BacktestResult:
    score = Score(
        model=model,
        variable="wind_speed",
        by="overall",
        group="",
        count=1080,
        crps=1.1,
        mae=1.5,
        rmse=2.0,
        bias=-0.01,
        coverage=(0.89,),
    )
    skill = Skill(
        model=model, variable="wind_speed", reference="climatology", lead=None, skill=0.1, low=0.05, high=0.15
    )
    scores = BacktestScores(
        models=(model,),
        levels=(0.05, 0.5, 0.95),
        nominal_coverages=(0.9,),
        issues=90,
        block=4,
        confidence=0.95,
        best_baseline={},
        scores=(score,),
        skill=(skill,),
        reliability=(),
        problems=(Problem(model="lstm", text="it needs 50 issue times", origins=2),),
    )
    return BacktestResult(
        product="wind",
        since=NOW - timedelta(days=90),
        until=NOW,
        at=NOW,
        every=timedelta(weeks=1),
        part=(1, 2),
        origins=13,
        pieces=7,
        repeated=0,
        missing=missing,
        scores=None if missing else scores,
        folder=None if missing else Path("backtests"),
        run_id="" if missing else "ef" * 16,
    )


def explained() -> ExplainResult:
    loss = GroupLoss(
        kind="location",
        name="s1",
        title=HOSTILE,
        loss=0.031,
        error=None,
        loss_by_lead=(0.05,),
        error_by_lead=(None,),
        loss_by_variable=(0.031,),
    )
    explanation = Explanation(
        model="ridge-var",
        issues=400,
        since=NOW - timedelta(days=400),
        until=NOW,
        forecasts=800,
        variables=("wind_speed",),
        crps=(1.1,),
        groups=(loss,),
    )
    return ExplainResult(
        product="wind",
        version=3,
        digest="ab" * 32,
        computed=True,
        explanation=explanation,
        issue_time=NOW,
        influences=(),
        units={"wind_speed": "m s-1"},
    )


def searched(*, base: str = "climatology") -> SearchResult:
    control = TrialResult(
        number=0, status="finished", control=True, options={"lags": None}, crps=1.2, skill=0.0, seconds=3.0
    )
    best = TrialResult(
        number=4,
        status="finished",
        control=False,
        options={"lags": 5, "base": base},
        crps=1.17,
        skill=0.025,
        seconds=2.5,
    )
    return SearchResult(
        product="wind",
        at=NOW,
        model="ridge-var",
        snapshot="ab" * 32,
        since=NOW,
        until=NOW,
        issues=900,
        folds=3,
        findings=SearchFindings(
            control=control,
            best=best,
            comparison=Comparison(skill=0.025, standard_error=0.004, p_value=0.0004, block=9, distinguishable=True),
            trials=(control, best),
            compared=3,
            earlier=0,
            ended_by="budget",
            importance={"lags": 0.9, "memory": 0.1},
            snippet="training:\n  options:\n    ridge-var:\n      lags: 5\n",
        ),
        study=Path("searches/ridge-var.journal"),
        run_id="ef" * 16,
        warnings=("study is damaged",),
    )


def promoted() -> PromotionResult:
    return PromotionResult(product="wind", action="promote", version=3, previous=2, who="Ann", why="it is better")
