"""The page of a backtest: its numbers as the facts that `pipeline.report` draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from pipeline.config import Product
from pipeline.features.snapshot import Snapshot
from pipeline.report import BacktestedModel, BacktestedVariable, BacktestPage, SkillInterval
from pipeline.report.typography import plural
from pipeline.training.backtest.plan import Piece
from pipeline.training.backtest.results import BacktestScores, GroupKind, Score
from pipeline.training.fit import CLIMATOLOGY
from pipeline.version import code_version


def backtest_page(
    truth: Snapshot,
    plan: Sequence[Sequence[Piece]],
    scores: BacktestScores,
    *,
    since: datetime,
    until: datetime,
    every: timedelta,
) -> BacktestPage:
    """Return what the page of a backtest shows.

    Args:
        truth: The observations that verified the forecasts.
        plan: The pieces of each origin.
        scores: The numbers.
        since: First origin.
        until: Last issue time.
        every: Time from one training to the next.
    """
    product, locations = truth.product, truth.locations
    names = dict(zip(locations.ids, locations.names, strict=True))
    scored = [target for target in product.forecast.targets if any(one.count for one in scores.overall(target))]
    return BacktestPage(
        product=product.name,
        title=product.title or product.name,
        since=since,
        until=until,
        verified_at=truth.known_by,
        every=every,
        origins=len(plan),
        issues=scores.issues,
        block=scores.block,
        confidence=scores.confidence,
        step=product.feed.step,
        levels=scores.levels,
        nominal=scores.nominal_coverages,
        variables=tuple(_variable(product, names, scores, target) for target in scored),
        problems=tuple(f"{one.model}, at {plural(one.origins, 'origin')}: {one.text}" for one in scores.problems),
        licence=product.feed.attribution,
        code_version=code_version(),
    )


def _variable(product: Product, names: Mapping[str, str], scores: BacktestScores, target: str) -> BacktestedVariable:
    references = tuple(dict.fromkeys((scores.best_baseline.get(target, CLIMATOLOGY), CLIMATOLOGY)))
    ranked = scores.overall(target)
    units, _, _, title = product.feed.variable(target)
    return BacktestedVariable(
        title=title,
        units=units,
        count=ranked[0].count,
        models=tuple(_model(one, scores, names, references) for one in ranked),
        references=tuple(name for name in references if name in scores.models),
    )


def _model(
    overall: Score, scores: BacktestScores, names: Mapping[str, str], references: tuple[str, ...]
) -> BacktestedModel:
    model, variable = overall.model, overall.variable
    own = [one for one in scores.scores if (one.model, one.variable) == (model, variable)]
    found = {name: scores.skill_of(model, variable, name) for name in references}
    calibration = next(one for one in scores.reliability if (one.model, one.variable) == (model, variable))

    def by(kind: GroupKind) -> dict[str, float]:
        return {one.group: one.crps for one in own if one.by == kind}

    return BacktestedModel(
        name=model,
        crps=overall.crps,
        mae=overall.mae,
        rmse=overall.rmse,
        bias=overall.bias,
        coverage=overall.coverage,
        skill={
            name: SkillInterval(skill=one.skill, low=_number(one.low), high=_number(one.high))
            for name, one in found.items()
            if one is not None
        },
        crps_by_lead=tuple(by("lead").values()),
        crps_by_hour={int(hour): crps for hour, crps in by("hour").items()},
        crps_by_season=by("season"),
        crps_by_location={names[location]: crps for location, crps in by("location").items()},
        frequencies=calibration.frequencies,
        pit=calibration.pit,
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value
