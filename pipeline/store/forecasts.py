"""Issued forecasts: a row per issue time, valid time, location, variable and model. Exactly one model is published."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.store.delta.table import Table
from pipeline.store.objects import ObjectStore
from pipeline.store.observations import TIME

SCHEMA = pa.schema(
    [
        ("issue_time", TIME),
        ("valid_time", TIME),
        ("lead", pa.int32()),
        ("location", pa.string()),
        ("variable", pa.string()),
        ("model", pa.string()),
        ("published", pa.bool_()),
        ("levels", pa.list_(pa.float64())),
        ("quantiles", pa.list_(pa.float32())),
        ("rung", pa.int8()),
        ("input_age_hours", pa.float64()),
        ("version", pa.int64()),
        ("digest", pa.string()),
        ("code_version", pa.string()),
        ("notes", pa.string()),
        ("month", pa.string()),
    ]
)


class Forecasts:
    """All issued forecasts of one product, with the baselines that were forecast beside them."""

    def __init__(self, place: ObjectStore) -> None:
        self.table = Table(place, SCHEMA, "month")

    def add(self, issue_time: datetime, rows: pa.Table) -> bool:
        """Keep the forecast of an issue time unless there is one; return whether it was added."""
        month = pa.array([_month(issue_time)] * rows.num_rows, pa.string())
        rows = rows.append_column("month", month)
        added = self.table.append(
            lambda present: rows.slice(0, 0) if present.num_rows else rows, where=_issued(issue_time)
        )
        return bool(added.num_rows)

    def read(self, issue_time: datetime) -> pa.Table:
        """Return the rows of one issue time; none if it was not forecast."""
        return self.table.read(_issued(issue_time))

    def since(self, month: str | None = None) -> pa.Table:
        """Return the rows of one month of issue times, or of all."""
        return self.table.read(pc.field("month") == month if month else None)

    def issue_times(self) -> list[datetime]:
        """Return the issue times that have a forecast, ascending."""
        times = self.table.read(columns=["issue_time"])["issue_time"].unique().to_pylist()
        return sorted(times)


def _month(issue_time: datetime) -> str:
    return f"{issue_time.astimezone(UTC):%Y-%m}"


def _issued(issue_time: datetime) -> pc.Expression:
    instant = pa.scalar(issue_time, TIME)
    return (pc.field("month") == _month(issue_time)) & (pc.field("issue_time") == instant)
