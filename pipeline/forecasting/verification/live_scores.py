"""Scores of the champion's forecasts beside those of its rivals, by issue time and variable, kept as first seen.

A test that is repeated stays valid only if no forecast is counted twice and no score is chosen after the fact. So a
forecast is scored once, when its last value is due and has arrived, in order of issue time; later revisions of the
observations change nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import cache

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.fallback_level import FallbackLevel
from pipeline.forecasting.verification.match import match_observations
from pipeline.forecasting.verification.scores import PUBLISHED, score_each
from pipeline.steps import mean_length
from pipeline.store.delta.table import Table
from pipeline.store.forecasts import CHAMPION, JUDGED, Forecasts
from pipeline.store.objects import ObjectStore
from pipeline.store.observations import TIME, Observations
from pipeline.times import Cadence, months
from pipeline.training.fit import CLIMATOLOGY

SCHEMA = pa.schema(
    [
        ("issue_time", TIME),
        ("variable", pa.string()),
        ("version", pa.int64()),
        ("rival", pa.string()),  # the best baseline
        ("champion", pa.float64()),  # mean CRPS over leads and locations, in the unit of the variable
        ("baseline", pa.float64()),
        ("judged", pa.float64()),  # null where the judged fit made no forecast beside the champion's refit
        ("climatology", pa.float64()),
        ("scored_at", TIME),
    ]
)

RESOLUTION = timedelta(microseconds=1)
"""Of time stamps."""

Baselines = Callable[[int, str], Sequence[str]]
"""Returns the baselines of a bundle, best first, by its registry version and digest; none if it cannot be read."""


class LiveScores:
    """The scores of one product."""

    def __init__(self, store: ObjectStore) -> None:
        self.table = Table(store, SCHEMA)

    def read(self, *, at: datetime, since: datetime) -> pd.DataFrame:
        """Return the scores known at an instant of the issue times from `since` on, in order."""
        known = (pc.field("scored_at") <= pa.scalar(at, TIME)) & (pc.field("issue_time") >= pa.scalar(since, TIME))
        rows: pd.DataFrame = self.table.read(known).to_pandas()
        return rows.sort_values(["issue_time", "variable"], ignore_index=True)

    def newest(self) -> tuple[datetime, datetime] | None:
        """Return the last issue time that was scored, and when the last score was made; None without scores."""
        rows = self.table.read(columns=["issue_time", "scored_at"])
        if not rows.num_rows:
            return None
        return pc.max(rows["issue_time"]).as_py(), pc.max(rows["scored_at"]).as_py()

    def add(self, rows: pa.Table) -> None:
        """Add the scores of issue times that are newer than those in the table."""

        def choose(present: pa.Table) -> pa.Table:
            if not present.num_rows:
                return rows
            return rows.filter(pc.field("issue_time") > pc.max(present["issue_time"]))

        self.table.append(choose)


def extend_live_scores(
    scores: LiveScores,
    cadence: Cadence,
    forecasts: Forecasts,
    observations: Observations,
    baselines: Baselines,
    *,
    since: datetime,
    at: datetime,
) -> bool:
    """Add the scores of the forecasts issued from `since` on that have matured since the last call.

    A forecast has matured when every value is due, and some location has a value of each variable at each valid time; a
    forecast without waits for as long again as it was open.

    Returns:
        False for an earlier instant than that of the last score: then nothing is added, because it would come after
        scores that must not be seen.

    Raises:
        StoreError: a store cannot be read or written.
    """
    newest = scores.newest()
    if newest is not None and newest[1] > at:
        return False
    known = cache(baselines)  # one attempt for each bundle, however many forecasts it made
    first_new = max(since, newest[0] + RESOLUTION) if newest else since
    # The first value of a forecast describes a time after the issue, so no later forecast can have matured.
    for first, last in months(first_new, at - (cadence.horizon - 1) * mean_length(cadence.step) - cadence.delay):
        rows = forecasts.read_between(first, last)
        issues = sorted(rows["issue_time"].unique().to_pylist())
        if not issues:
            continue
        begin, end = cadence.lead_times(issues[0])[0], cadence.lead_times(issues[-1])[-1]
        pairs = match_observations(rows, observations.read(known_by=at, since=begin, until=end), known_by=at)
        matured = _matured(rows, pairs, cadence, at)
        found = [row for issue in matured for row in _score(pairs[pairs["issue_time"] == issue], known)]
        if found:
            scores.add(pa.Table.from_pylist([{**row, "scored_at": at} for row in found], SCHEMA))
        if len(matured) < len(issues):
            break
    return True


def _matured(rows: pa.Table, pairs: pd.DataFrame, cadence: Cadence, at: datetime) -> list[datetime]:
    """Return the issue times, in order, up to the first that has not matured."""
    values = ["issue_time", "valid_time", "variable"]
    forecast = rows.select(values).to_pandas().drop_duplicates().groupby("issue_time").size()
    observed = pairs[values].drop_duplicates().groupby("issue_time").size()
    matured = []
    for issue, count in forecast.sort_index().items():
        due = cadence.lead_times(issue.to_pydatetime())[-1] + cadence.delay
        if due > at or (observed.get(issue, 0) < count and due + (due - issue) > at):
            break
        matured.append(issue)
    return matured


def _score(pairs: pd.DataFrame, baselines: Baselines) -> Iterator[dict[str, object]]:
    """Yield the scores of one issue time, a row for each variable; none without forecasts to compare."""
    if pairs.empty:
        return
    first = pairs.iloc[0]
    if pd.isna(first["version"]):
        return
    issue, version = first["issue_time"], int(first["version"])
    means = score_each(pairs).groupby(["variable", "model"])[["crps_sum", "count"]].sum()
    # All rows of an issue time hold the level of the published forecast; beyond that of the champion, it is a baseline.
    serves = first["rung"] <= FallbackLevel.CHAMPION_ON_STALE_INPUT
    models = set(means.index.get_level_values("model"))
    rival = next((name for name in baselines(version, first["digest"]) if name in models), None)
    names = {
        "champion": PUBLISHED if serves else CHAMPION,
        "baseline": rival,
        "judged": JUDGED,
        "climatology": CLIMATOLOGY,
    }
    if rival is None or names["champion"] not in models:
        return
    for variable, of_variable in means.groupby("variable"):
        by_model = of_variable.droplevel("variable").to_dict("index")
        values = by_model[names["champion"]]["count"]
        # Forecasts of fewer values, such as of stations that were added since, cannot be compared.
        crps = {
            role: by_model[name]["crps_sum"] / values
            for role, name in names.items()
            if name in by_model and by_model[name]["count"] == values
        }
        yield {"issue_time": issue, "variable": variable, "version": version, "rival": rival, **crps}
