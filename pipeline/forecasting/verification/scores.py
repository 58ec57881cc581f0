"""Scores as sums and counts per day, so that any longer period, region or set of leads is a sum of rows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from pipeline.store.delta.table import Table
from pipeline.store.objects import ObjectStore
from pipeline.store.observations import TIME
from pipeline.training import metrics
from pipeline.training.fit import CLIMATOLOGY

PUBLISHED = "published"
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
    ]
)
_GROUP = ["model", "variable", "lead", "location", "day"]
_SUMS = ["count", "crps_sum", "absolute_error_sum", "squared_error_sum", "error_sum", "covered_sum"]


class LeadScore(BaseModel):
    """Scores of one model at one lead over matured forecasts."""

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
    """Fraction of truths inside the widest interval."""


class Scores:
    """The scores of one product. `day` is the day of the issue time, so that a month of issues is one partition."""

    def __init__(self, place: ObjectStore) -> None:
        self.table = Table(place, SCHEMA, "month")

    def replace(self, month: str, rows: pd.DataFrame, *, at: datetime) -> None:
        """Make `rows`, scored by what was known at `at`, all the scores of one month of issue times."""
        table = pa.Table.from_pandas(rows.assign(month=month, scored_at=pd.Timestamp(at)), preserve_index=False)
        self.table.replace_partition(month, table)

    def months(self) -> dict[str, datetime]:
        """Return the months that have scores, each with the instant by whose knowledge they were made."""
        rows = self.table.read(columns=["month", "scored_at"])
        newest = rows.group_by("month").aggregate([("scored_at", "max")]).to_pylist()
        return {row["month"]: row["scored_at_max"] for row in newest}

    def read(self) -> pd.DataFrame:
        """Return every row."""
        frame: pd.DataFrame = self.table.read().to_pandas()
        return frame


def score_rows(matched: pd.DataFrame) -> pd.DataFrame:
    """Return sums and counts of matched forecast rows by model, variable, lead, location and day of issue.

    The published forecast is scored under the name `published`, whatever model made it; baselines under their own.
    """
    if matched.empty:
        return pd.DataFrame(columns=[*_GROUP, *_SUMS])
    parts = []
    for levels, part in matched.groupby(matched["levels"].map(tuple), sort=True):
        quantiles = np.stack(part["quantiles"].tolist()).astype(np.float32)
        truth = part["truth"].to_numpy(np.float32)
        error = quantiles[:, levels.index(0.5)].astype(np.float64) - truth
        parts.append(
            pd.DataFrame(
                {
                    "model": part["model"].where(~part["published"], PUBLISHED),
                    "variable": part["variable"],
                    "lead": part["lead"],
                    "location": part["location"],
                    "day": part["issue_time"].dt.date,
                    "count": 1,
                    "crps_sum": metrics.crps(quantiles, truth, levels),
                    "absolute_error_sum": np.abs(error),
                    "squared_error_sum": error**2,
                    "error_sum": error,
                    "covered_sum": metrics.covered(quantiles, truth),
                }
            )
        )
    return pd.concat(parts).groupby(_GROUP, as_index=False)[_SUMS].sum()


def by_lead(rows: pd.DataFrame) -> tuple[LeadScore, ...]:
    """Return the mean scores by model, variable and lead, over the forecasts that every model of the lead made.

    Squared errors are averaged first; the root is taken last.
    """
    if rows.empty:
        return ()
    shared = _shared(rows)
    totals = shared.groupby(["variable", "lead", "model"], sort=True)[_SUMS].sum()
    made = []
    for row in totals.reset_index().to_dict("records"):
        count = int(row["count"])
        made.append(
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
    return tuple(made)


def skill(table: Iterable[LeadScore]) -> dict[str, float]:
    """Return the CRPS skill of the published forecast against each baseline, over all leads and variables.

    Of several variables each counts the same, as in the gate: its CRPS is taken relative to climatology's, or to the
    baseline's own where climatology was not verified.
    """
    totals: dict[str, dict[str, tuple[float, int]]] = {}
    for score in table:
        of_model = totals.setdefault(score.model, {})
        total, count = of_model.get(score.variable, (0.0, 0))
        of_model[score.variable] = (total + score.crps * score.count, count + score.count)
    means = {
        model: {variable: total / count for variable, (total, count) in of_model.items()}
        for model, of_model in totals.items()
    }
    if PUBLISHED not in means:
        return {}
    ours = means[PUBLISHED]
    found = {}
    for model, theirs in means.items():
        unit = dict.fromkeys(ours, 1.0) if len(ours) == 1 else means.get(CLIMATOLOGY, theirs)
        if model != PUBLISHED and theirs.keys() == ours.keys() and all(unit[name] > 0 for name in ours):
            base = sum(theirs[name] / unit[name] for name in ours)
            if base > 0:
                found[model] = 1 - sum(ours[name] / unit[name] for name in ours) / base
    return found


def _shared(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep what all models made that were verified beside the published forecast when one last was."""
    accompanied = rows.loc[rows["model"] != PUBLISHED, "day"]
    newest = accompanied.max() if len(accompanied) else rows["day"].max()
    current = set(rows.loc[rows["day"] == newest, "model"])
    rows = rows[rows["model"].isin(current)]
    key = ["variable", "lead", "location", "day"]
    counts = rows.groupby(key)["count"].agg(["size", "nunique"]).reset_index()
    complete = counts[(counts["size"] == len(current)) & (counts["nunique"] == 1)]
    return rows.merge(complete[key], on=key)
