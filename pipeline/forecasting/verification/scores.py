"""Scores as sums and counts per day: the score of any period, region or set of leads is a sum of rows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from pipeline.store.delta.table import Table
from pipeline.store.forecasts import CHAMPION, JUDGED
from pipeline.store.objects import ObjectStore
from pipeline.store.observations import TIME
from pipeline.training import metrics
from pipeline.training.fit import CLIMATOLOGY

PUBLISHED = "published"
"""The published forecast among the models, whichever model made it."""
SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("variable", pa.string()),
        ("lead", pa.int32()),
        ("location", pa.string()),
        ("day", pa.date32()),
        ("count", pa.int64()),
        ("crps_sum", pa.float64()),
        ("absolute_error_sum", pa.float64()),
        ("squared_error_sum", pa.float64()),
        ("error_sum", pa.float64()),
        ("covered_sum", pa.float64()),
        ("scored_at", TIME),
        ("month", pa.string()),
        ("issue_times", pa.int64()),  # how many issue times of the month were scored; null in rows of older releases
        ("models", pa.string()),  # all models that forecast the same values; null in rows of older releases
    ]
)
_KEY = ["variable", "lead", "location", "day"]
_GROUP = ["model", *_KEY, "models"]
_SUMS = ["count", "crps_sum", "absolute_error_sum", "squared_error_sum", "error_sum", "covered_sum"]


class ScoredMonth(NamedTuple):
    """When the scores of a month were computed, and for how many issue times; None if that was not recorded."""

    at: datetime
    issue_times: int | None


class LeadScore(BaseModel):
    """Mean scores of one model for one variable and lead."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: str
    variable: str
    lead: int
    """Steps after the issue time, from 1."""
    count: int
    crps: float
    mae: float
    rmse: float
    bias: float
    coverage: float
    """Fraction of observations inside the widest interval."""


class Scores:
    """The scores of one product, partitioned by the month of the issue time; `day` is its day."""

    def __init__(self, store: ObjectStore) -> None:
        self.table = Table(store, SCHEMA, "month")

    def replace(self, month: str, rows: pd.DataFrame, *, at: datetime, issue_times: int) -> None:
        """Replace the scores of a month by `rows`, for a number of issue times and the observations known at `at`."""
        rows = rows.assign(month=month, scored_at=pd.Timestamp(at), issue_times=issue_times)
        self.table.replace_partition(month, pa.Table.from_pandas(rows, preserve_index=False))

    def months(self) -> dict[str, ScoredMonth]:
        """Return how each month was scored, for the months that have scores."""
        rows = self.table.read(columns=["month", "scored_at", "issue_times"])
        newest = rows.group_by("month").aggregate([("scored_at", "max"), ("issue_times", "max")]).to_pylist()
        return {row["month"]: ScoredMonth(row["scored_at_max"], row["issue_times_max"]) for row in newest}

    def read(self, *, until: datetime | None = None) -> pd.DataFrame:
        """Return all rows, or those of issue times up to the day of `until`.

        Of rows of older releases, which do not record `models`, those with equal counts are taken to belong together.
        """
        frame: pd.DataFrame = self.table.read().to_pandas()
        old = frame["models"].isna()
        if old.any():
            frame.loc[old, "models"] = _models_of_same(frame[old], [*_KEY, "count"])
        return frame if until is None else frame[frame["day"] <= until.date()]


def score_pairs(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return sums and counts by model, variable, lead, location, day of the issue time, and `models`.

    The published forecast is scored as the model `published`, whichever model made it; baselines by their name.
    `models` names all models with a forecast of the same values, so that models are compared on equal forecasts also
    on a day on which the baselines changed.

    Args:
        pairs: Forecast rows with the observed value, from `match_observations`.
    """
    if pairs.empty:
        return pd.DataFrame(columns=[*_GROUP, *_SUMS])
    scored = score_each(pairs)
    scored["models"] = _models_of_same(scored, ["variable", "lead", "location", "issue_time"])
    return scored.groupby(_GROUP, as_index=False)[_SUMS].sum()


def score_each(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of each row as a sum over one forecast, with its `issue_time`; there must be rows."""
    parts = []
    for levels, part in pairs.groupby(pairs["levels"].map(tuple), sort=True):
        quantiles = np.stack(part["quantiles"].tolist()).astype(np.float32)
        observed = part["observed"].to_numpy(np.float32)
        error = quantiles[:, levels.index(0.5)].astype(np.float64) - observed
        parts.append(
            pd.DataFrame(
                {
                    "model": part["model"].where(~part["published"], PUBLISHED),
                    "variable": part["variable"],
                    "lead": part["lead"],
                    "location": part["location"],
                    "issue_time": part["issue_time"],
                    "day": part["issue_time"].dt.date,
                    "count": 1,
                    "crps_sum": metrics.crps(quantiles, observed, levels),
                    "absolute_error_sum": np.abs(error),
                    "squared_error_sum": error**2,
                    "error_sum": error,
                    "covered_sum": metrics.covered(quantiles, observed),
                }
            )
        )
    return pd.concat(parts)


def scores_by_lead(rows: pd.DataFrame) -> tuple[LeadScore, ...]:
    """Return the mean scores by variable, lead and model, over the forecasts that all models have in common.

    The judged fits of champions are left out, see `refit_skill`; and so are champions while a baseline serves.

    The RMSE is the root of the mean over all of them, not a mean of roots.
    """
    rows = rows[~rows["model"].isin([JUDGED, CHAMPION])]
    if rows.empty:
        return ()
    totals = _common(rows).groupby(["variable", "lead", "model"], sort=True)[_SUMS].sum()
    scores = []
    for row in totals.reset_index().to_dict("records"):
        count = int(row["count"])
        scores.append(
            LeadScore(
                model=row["model"],
                variable=row["variable"],
                lead=int(row["lead"]),
                count=count,
                crps=row["crps_sum"] / count,
                mae=row["absolute_error_sum"] / count,
                rmse=float(np.sqrt(row["squared_error_sum"] / count)),
                bias=row["error_sum"] / count,
                coverage=row["covered_sum"] / count,
            )
        )
    return tuple(scores)


def skill_scores(scores: Iterable[LeadScore]) -> dict[str, float]:
    """Return the CRPS skill score of the published forecast against each baseline, over all leads and variables.

    Several variables have equal weight, as in the gate: each CRPS is divided by that of climatology, or of the
    baseline itself where climatology was not verified.
    """
    totals: dict[str, dict[str, tuple[float, int]]] = {}
    for score in scores:
        by_variable = totals.setdefault(score.model, {})
        total, count = by_variable.get(score.variable, (0.0, 0))
        by_variable[score.variable] = (total + score.crps * score.count, count + score.count)
    means = {
        model: {variable: total / count for variable, (total, count) in by_variable.items()}
        for model, by_variable in totals.items()
    }
    published = means.pop(PUBLISHED, {})
    skill = {}
    for model, baseline in means.items():
        unit = dict.fromkeys(published, 1.0) if len(published) == 1 else means.get(CLIMATOLOGY, baseline)
        if baseline.keys() != published.keys() or any(unit[name] <= 0 for name in published):
            continue
        reference = sum(baseline[name] / unit[name] for name in published)
        if reference > 0:
            skill[model] = 1 - sum(published[name] / unit[name] for name in published) / reference
    return skill


def refit_skill(rows: pd.DataFrame) -> dict[str, float]:
    """Return the CRPS skill of published refits over the judged fits of the same champions, by variable.

    Only forecasts that both made count.
    """
    both = rows[rows["model"] == PUBLISHED].merge(
        rows[rows["model"] == JUDGED], on=[*_KEY, "models"], suffixes=("", "_judged")
    )
    sums = both.groupby("variable")[["crps_sum", "crps_sum_judged"]].sum()
    return {
        str(variable): 1 - row["crps_sum"] / row["crps_sum_judged"]
        for variable, row in sums.iterrows()
        if row["crps_sum_judged"] > 0
    }


def _common(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the forecasts that all current models made.

    The current models are those that made the most forecasts together on the last day with a baseline.
    """
    baselines = rows[rows["model"] != PUBLISHED]
    newest = baselines if len(baselines) else rows
    newest = newest[newest["day"] == newest["day"].max()]
    models, _ = newest.groupby(["models", "model"])["count"].sum().idxmax()
    current = set(models.split(",")) - {JUDGED, CHAMPION}
    complete = [names for names in rows["models"].unique() if current <= set(names.split(","))]
    return rows[rows["model"].isin(current) & rows["models"].isin(complete)]


def _models_of_same(rows: pd.DataFrame, key: list[str]) -> np.ndarray:
    """Return for each row the models of all rows with the same key, in alphabetical order and separated by commas."""
    groups = rows.groupby(key, sort=False).ngroup().to_numpy()
    codes, models = pd.factorize(rows["model"], sort=True)
    present = np.zeros((groups.max() + 1, len(models)), bool)
    present[groups, codes] = True
    patterns, pattern = np.unique(present, axis=0, return_inverse=True)
    names = np.array([",".join(models[row]) for row in patterns], object)
    return names[pattern.reshape(-1)[groups]]
