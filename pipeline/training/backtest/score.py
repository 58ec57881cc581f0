"""Score the forecasts of a backtest against what was observed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import get_args
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Feed
from pipeline.errors import NoDataError
from pipeline.features.snapshot import Snapshot
from pipeline.steps import add
from pipeline.training.backtest.bootstrap import CONFIDENCE, SkillBootstrap, block_length
from pipeline.training.backtest.pieces import PieceForecasts, PieceStore
from pipeline.training.backtest.plan import Origin, Piece
from pipeline.training.backtest.results import BacktestScores, GroupKind, Problem, Reliability, Score, Skill
from pipeline.training.backtest.sums import (
    HOURS,
    SEASONS,
    Sums,
    seasons_and_hours,
    shared_cases,
)
from pipeline.training.evaluate import published_truth
from pipeline.training.fit import CLIMATOLOGY, baseline_names
from pipeline.training.metrics import nominal_coverages


def score_pieces(truth: Snapshot, plan: Sequence[Sequence[Piece]], store: PieceStore) -> BacktestScores:
    """Return the scores of finished pieces, over the forecasts that every model has.

    A model without any forecast is left out; it is in `problems`.

    Args:
        truth: The observations as known at the time of scoring.
        plan: The pieces of each origin.
        store: Where they are.

    Raises:
        NoDataError: a piece is missing, or there is no forecast that every model has and whose truth is known.
    """
    task, cadence = truth.task, truth.cadence
    problems, fitted = _problems(plan, store)
    sums = {(model, target): Sums.empty(task, cadence.horizon) for model in fitted for target in task.targets}
    feed = truth.product.feed
    for pieces in plan:
        origin = pieces[0].origin
        found = {piece.model: _aligned(_read(store, piece), origin, truth) for piece in pieces if piece.model in fitted}
        observed = published_truth(truth.windows(origin.issues, truth_at=truth.known_by), np.arange(len(origin.issues)))
        shared = shared_cases(found, observed)
        labels = [[labelled_time(time, feed) for time in cadence.lead_times(issue)] for issue in origin.issues]
        season, hour = seasons_and_hours(labels)
        for (model, target), one in sums.items():
            at = task.targets.index(target)
            one.add(found[model][:, :, at], observed[:, :, at], shared[:, :, at], season, hour)
    if not any(one.groups("overall")[0].count for one in sums.values()):
        raise NoDataError(
            f"{truth.product.name}: no forecast of the backtest can be scored: there is none that every model has and "
            "whose observations are known; choose other models, or an earlier range"
        )
    best = _best_baselines(sums, truth)
    issues = [issue for pieces in plan for issue in pieces[0].origin.issues]
    block = block_length([cadence.lead_times(issue) for issue in issues])
    bootstrap = SkillBootstrap(len(issues), block, seed=truth.product.training.seed)
    return BacktestScores(
        models=tuple(fitted),
        levels=task.quantile_levels,
        nominal_coverages=nominal_coverages(task.quantile_levels),
        issues=len(issues),
        block=block,
        confidence=CONFIDENCE,
        best_baseline=best,
        scores=tuple(_scores(sums, truth)),
        skill=tuple(_skill(sums, best, bootstrap)),
        reliability=tuple(_reliability(sums)),
        problems=problems,
    )


def labelled_time(valid_time: datetime, feed: Feed) -> datetime:
    """Return the time by which a value is grouped into seasons and hours: for a calendar step, its local start."""
    if isinstance(feed.step, timedelta):
        return valid_time - feed.step if feed.source.time_label == "start" else valid_time
    return add(valid_time, -1, feed.step).astimezone(ZoneInfo(feed.step.zone))


def _problems(plan: Sequence[Sequence[Piece]], store: PieceStore) -> tuple[tuple[Problem, ...], tuple[str, ...]]:
    """Return what went wrong, and the models that have a forecast."""
    counts: Counter[tuple[str, str]] = Counter()
    fitted: dict[str, bool] = {}
    for piece in (piece for pieces in plan for piece in pieces):
        found = _read(store, piece)
        fitted[piece.model] = fitted.get(piece.model, False) or bool(np.isfinite(found.quantiles).any())
        if found.problem:
            counts[piece.model, found.problem] += 1
    problems = tuple(Problem(model=model, text=text, origins=count) for (model, text), count in counts.items())
    return problems, tuple(model for model, has_any in fitted.items() if has_any)


def _read(store: PieceStore, piece: Piece) -> PieceForecasts:
    found = store.read(piece.name)
    if found is None:
        raise NoDataError(f"the forecasts of {piece.model} from {piece.origin.at} are missing; run the backtest again")
    return found


def _aligned(found: PieceForecasts, origin: Origin, truth: Snapshot) -> NDArray[np.float32]:
    """Return the quantiles of every issue time, NaN without a fit."""
    if len(found.quantiles):
        return found.quantiles
    return np.full((len(origin.issues), *found.quantiles.shape[1:]), np.nan, np.float32)


def _best_baselines(sums: Mapping[tuple[str, str], Sums], truth: Snapshot) -> dict[str, str]:
    baselines = baseline_names(grid=truth.task.grid is not None)
    best = {}
    for target in truth.task.targets:
        means = {
            model: found.mean("crps")
            for (model, variable), one in sums.items()
            if variable == target and model in baselines and (found := one.groups("overall")[0]).count
        }
        if means:
            best[target] = min(means, key=lambda model: means[model])
    return best


def _scores(sums: Mapping[tuple[str, str], Sums], truth: Snapshot) -> Iterator[Score]:
    """Yield the scores of every group that has forecasts; a single hour of the day, or location, is not a group."""
    names: dict[GroupKind, Sequence[str]] = {
        "overall": ("",),
        "lead": [str(lead + 1) for lead in range(truth.cadence.horizon)],
        "season": SEASONS,
        "hour": HOURS,
        "location": truth.task.locations,
    }
    for (model, variable), one in sums.items():
        for kind in get_args(GroupKind):
            groups = [(name, found) for name, found in zip(names[kind], one.groups(kind), strict=True) if found.count]
            if kind in ("hour", "location") and len(groups) == 1:
                continue
            for name, found in groups:
                yield Score(
                    model=model,
                    variable=variable,
                    by=kind,
                    group=name,
                    count=found.count,
                    crps=found.mean("crps"),
                    mae=found.mean("absolute"),
                    rmse=found.rmse,
                    bias=found.mean("error"),
                    coverage=found.coverage,
                )


def _skill(sums: Mapping[tuple[str, str], Sums], best: Mapping[str, str], bootstrap: SkillBootstrap) -> Iterator[Skill]:
    for (model, variable), one in sums.items():
        ours = one.crps_by_issue
        for reference in dict.fromkeys((best.get(variable, CLIMATOLOGY), CLIMATOLOGY)):
            other = sums.get((reference, variable))
            if other is None or reference == model:
                continue
            theirs = other.crps_by_issue
            for lead in (None, *range(1, ours.shape[1] + 1)):
                part = slice(None) if lead is None else slice(lead - 1, lead)
                mine, its = ours[:, part].sum(axis=1), theirs[:, part].sum(axis=1)
                if not its.sum() > 0:
                    continue
                low, high = bootstrap.interval(mine, its) or (None, None)
                yield Skill(
                    model=model,
                    variable=variable,
                    reference=reference,
                    lead=lead,
                    skill=float(1 - mine.sum() / its.sum()),
                    low=low,
                    high=high,
                )


def _reliability(sums: Mapping[tuple[str, str], Sums]) -> Iterator[Reliability]:
    for (model, variable), one in sums.items():
        (overall,) = one.groups("overall")
        frequencies = overall.frequencies
        shares = np.diff([0.0, *frequencies, 1.0])
        densities = shares / np.diff([0.0, *one.levels, 1.0])
        yield Reliability(model=model, variable=variable, frequencies=frequencies, pit=tuple(densities.tolist()))
