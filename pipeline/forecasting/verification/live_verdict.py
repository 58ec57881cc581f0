"""The live verdict: whether the champion, as it really forecast, is worse than the best baseline or its judged fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.config import Product
from pipeline.config.product import Gate
from pipeline.forecasting.verification.live_scores import Baselines, LiveScores, extend_live_scores
from pipeline.registry.ledger import Ledger
from pipeline.registry.standing import LiveVerdict, Standing, VerdictKind, describe_live_verdict, standing_at
from pipeline.steps import longest
from pipeline.store.forecasts import Forecasts
from pipeline.store.observations import Observations
from pipeline.times import Cadence, as_datetime, as_numpy
from pipeline.training.history import count_open, space_out
from pipeline.training.sequential import WARM_UP
from pipeline.training.skill_loss import MEMORY, SkillLoss, find_skill_loss

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class LiveSeries:
    """Scores of the forecasts of one recipe and of its rivals, in order of issue time.

    Of one variable the mean CRPS; of several the mean over variables, each relative to climatology.
    """

    issues: NDArray[np.datetime64]
    """(case,)"""
    champion: Scores
    """(case,)"""
    baseline: Scores
    """(case,) of the baseline that was best on the held-out issue times of the bundle that made the forecast."""
    judged: Scores
    """(case,) of the judged fit; NaN where it made no forecast beside the refit."""
    rivals: tuple[str, ...]
    """(case,) name of that baseline."""
    overlap: int
    """Largest number of forecasts that are open at once."""
    open_for: timedelta
    """Longest time from the issue time of a forecast until its last value is due."""


def update_standing(
    product: Product,
    cadence: Cadence,
    forecasts: Forecasts,
    observations: Observations,
    scores: LiveScores,
    ledger: Ledger,
    baselines: Baselines,
    *,
    at: datetime,
) -> Standing:
    """Score what has matured, write the live verdicts that follow to the ledger, and return what serves now.

    Only forecasts of the current champion's recipe count, issued since it was promoted. A second call changes nothing,
    nor does a call for an earlier instant.

    Raises:
        StoreError: a store cannot be read or written.
    """
    now = standing_at(ledger, at)
    if now.since is None:
        return now
    since = max(now.since, at - MEMORY)
    if not extend_live_scores(scores, cadence, forecasts, observations, baselines, since=since, at=at):
        return now
    rows = scores.read(at=at, since=now.since)
    series = build_series(rows[rows["version"].isin(now.versions)], cadence)
    verdicts = tuple(judge(series, now, product.gate, at=at))
    for verdict in verdicts:
        ledger.write(
            "stepped_up" if verdict.kind == "better_than_baseline" else "stepped_down",
            at=at,
            version=now.versions[-1],
            previous=now.versions[-1],
            who="verification",
            why=describe_live_verdict(verdict),
            numbers=verdict.model_dump_json(),
            key=f"{verdict.kind} {now.row} {verdict.until.isoformat()}",
        )
    return standing_at(ledger, at) if verdicts else now


def judge(series: LiveSeries, now: Standing, rules: Gate, *, at: datetime) -> Iterator[LiveVerdict]:
    """Yield the live verdicts that change what serves, at most one on the champion and one on its refit.

    Each rests on the forecasts since the last one of its kind.
    """
    if now.skill_since is None or now.refit_since is None or not len(series.issues):
        return

    def find(forecast: Scores, reference: Scores, since: datetime) -> SkillLoss | None:
        return find_skill_loss(
            forecast,
            reference,
            series.issues,
            overlap=series.overlap,
            open_for=series.open_for,
            since=since,
            until=at,
            significance=rules.significance,
        )

    if now.down:
        found = find(series.baseline, series.champion, now.skill_since)
        kind: VerdictKind = "better_than_baseline"
    else:
        found = find(series.champion, series.baseline, now.skill_since)
        kind = "worse_than_baseline"
    if found:
        names = dict.fromkeys(reversed(series.rivals[found.first :]))
        yield _verdict(kind, series, series.baseline, found, now, tuple(names))
    if not now.judged:
        # Two fits of a recipe differ by little and always in the same way, so a difference counts beyond a margin.
        found = find(series.champion, series.judged * (1 + rules.refresh_margin), now.refit_since)
        if found:
            yield _verdict("refit_worse", series, series.judged, found, now)


def build_series(rows: pd.DataFrame, cadence: Cadence) -> LiveSeries:
    """Return the series of live scores, from rows in order of issue time."""
    open_for = cadence.horizon * longest(cadence.step) + cadence.delay
    overlap = _overlap(cadence, open_for)
    tables = {role: rows.pivot(index="issue_time", columns="variable", values=role) for role in _ROLES}
    names = rows.drop_duplicates("issue_time").set_index("issue_time")["rival"]
    issues = np.array([as_numpy(issue) for issue in names.index], "datetime64[us]")
    # A denser schedule than the present one would leave more forecasts open at once than the test allows for.
    kept = space_out(issues, overlap, open_for)
    values = {role: table.to_numpy(np.float64)[kept] for role, table in tables.items()}
    unit = _units(values["climatology"], overlap)
    champion, baseline, judged = (_mean(values[role] / unit) for role in ("champion", "baseline", "judged"))
    rivals = tuple(names.iloc[kept])
    return LiveSeries(issues[kept], champion, baseline, judged, rivals, overlap, open_for)


_ROLES = ("champion", "baseline", "judged", "climatology")


def _verdict(
    kind: VerdictKind,
    series: LiveSeries,
    rival: Scores,
    found: SkillLoss,
    now: Standing,
    names: tuple[str, ...] = (),
) -> LiveVerdict:
    both = np.isfinite(series.champion) & np.isfinite(rival)
    both[: found.first] = False
    issues = series.issues[both]
    champion, reference = float(series.champion[both].sum()), float(rival[both].sum())
    return LiveVerdict(
        kind=kind,
        rivals=names,
        skill=1 - champion / reference if reference > 0 else None,
        p_value=found.p_value,
        cases=len(issues),
        since=as_datetime(issues[0]),
        until=as_datetime(issues[-1]),
        champion_row=now.row,
    )


def _overlap(cadence: Cadence, open_for: timedelta) -> int:
    first = datetime(2000, 1, 1, tzinfo=UTC)
    issues = cadence.issues(first, first + max(timedelta(days=8), 3 * open_for))
    return count_open(np.array([as_numpy(issue) for issue in issues], "datetime64[us]"), open_for)


def _units(climatology: Scores, overlap: int) -> Scores:
    """Return by what the scores of each variable are divided: (case, variable); 1 where there is a single one.

    It is the mean CRPS of climatology over the forecasts that were scored by the issue time of each, so that a score
    does not depend on later ones; NaN where that is not known, or zero in a long dry spell.
    """
    if climatology.shape[1] <= 1:
        return np.ones_like(climatology)
    known = np.isfinite(climatology)
    total, count = np.where(known, climatology, 0).cumsum(axis=0), known.cumsum(axis=0)
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=(count > 0) & (total > 0))
    # The test bets on no case before WARM_UP are scored, so the first may be scaled by their mean.
    scored = np.maximum(np.arange(len(mean)) - overlap, min(WARM_UP, len(mean)) - 1)
    units: Scores = mean[scored]
    return units


def _mean(values: Scores) -> Scores:
    """Return the mean over variables (case,) of those that are known."""
    known = np.isfinite(values)
    total, count = np.where(known, values, 0).sum(axis=1), known.sum(axis=1)
    mean: Scores = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return mean
