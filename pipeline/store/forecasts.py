"""Issued forecasts: a row per issue time, valid time, location, variable and model. Exactly one model is published."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.store.delta.table import Table
from pipeline.store.objects import ObjectStore
from pipeline.store.observations import TIME

JUDGED = "judged"
"""Model of the rows of a champion's judged fit, forecast beside its refit."""
CHAMPION = "champion"
"""Model of the rows of a champion that is not published, because the best baseline serves in its place."""
SCHEMA = pa.schema(
    [
        ("issue_time", TIME),
        ("valid_time", TIME),
        ("lead", pa.int32()),
        ("location", pa.string()),
        ("variable", pa.string()),
        ("model", pa.string()),
        ("published", pa.bool_()),
        ("levels", pa.list_(pa.float64())),  # quantile levels
        ("quantiles", pa.list_(pa.float32())),
        ("rung", pa.int8()),  # fallback level
        ("input_age_hours", pa.float64()),
        ("version", pa.int64()),
        ("digest", pa.string()),
        ("code_version", pa.string()),
        ("notes", pa.string()),  # JSON; prose in rows of older releases
        ("month", pa.string()),
    ]
)


class Forecasts:
    """All forecasts of one product that were issued, with baseline forecasts for the same times."""

    def __init__(self, store: ObjectStore) -> None:
        self.table = Table(store, SCHEMA, "month")

    def add(self, issue_time: datetime, rows: pa.Table) -> bool:
        """Add the forecast of an issue time unless there is one; return whether it was added."""
        month = pa.array([_month(issue_time)] * rows.num_rows, pa.string())
        rows = rows.append_column("month", month)
        added = self.table.append(
            lambda existing: rows.slice(0, 0) if existing.num_rows else rows, where=_issued(issue_time)
        )
        return bool(added.num_rows)

    def read(self, issue_time: datetime) -> pa.Table:
        """Return the rows of one issue time; none if it has no forecast."""
        return self.table.read(_issued(issue_time))

    def read_month(self, month: str) -> pa.Table:
        """Return the rows of one month of issue times, such as "2026-11"."""
        return self.table.read(pc.field("month") == month)

    def read_between(self, since: datetime, until: datetime) -> pa.Table:
        """Return the rows of the issue times in [since, until]; other months are not read."""
        month, issue = pc.field("month"), pc.field("issue_time")
        months = (month >= _month(since)) & (month <= _month(until))
        return self.table.read(months & (issue >= pa.scalar(since, TIME)) & (issue <= pa.scalar(until, TIME)))

    def issue_times(self) -> list[datetime]:
        """Return all issue times with a forecast, ascending."""
        issue_times = self.table.read(columns=["issue_time"])["issue_time"].unique().to_pylist()
        return sorted(issue_times)


def _month(issue_time: datetime) -> str:
    return f"{issue_time.astimezone(UTC):%Y-%m}"


def _issued(issue_time: datetime) -> pc.Expression:
    instant = pa.scalar(issue_time, TIME)
    return (pc.field("month") == _month(issue_time)) & (pc.field("issue_time") == instant)
