"""A batch checked against the contract of its feed: accepted rows, refused rows with reasons, and warnings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations.observations import KNOWN
from pipeline.config import Feed
from pipeline.errors import BatchError, ContractError, NoDataError
from pipeline.ingest.decoding.cells import as_json
from pipeline.ingest.quality.batch import Batch, BatchWithHistory
from pipeline.ingest.quality.batch_metrics import measure_batch
from pipeline.ingest.quality.contract import contract_of
from pipeline.ingest.quality.series_checks import find_faults
from pipeline.ingest.quality.validation import Validation, validate_batch
from pipeline.ingest.quality.validation_report import validation_report
from pipeline.ingest.sources.base import refused_table, row_schema
from pipeline.locations import Locations

__all__ = ["KEY", "Validated", "check_rows"]

KEY = ["valid_time", "location"]


@dataclass(frozen=True, slots=True)
class Validated:
    """A batch after validation; rows given = accepted + refused + collapsed."""

    accepted: pa.Table
    """Rows of `row_schema`, one per key, sorted by valid_time, location and, where rows have it, known_at."""
    refused: pa.Table
    """Rows of `REFUSED_SCHEMA`, in payload order."""
    report: dict[str, Any]
    """The validation report, as small JSON data."""
    warnings: tuple[str, ...] = ()
    """Warnings on rows that are accepted, a sentence each."""


def check_rows(
    rows: pa.Table,
    feed: Feed,
    locations: Locations,
    *,
    now: datetime,
    recent: pa.Table | None = None,
    live: bool = True,
) -> Validated:
    """Return the rows split by the contract of the feed.

    Identical rows become one. Of rows that share a key and differ, the last one in payload order without any other
    fault is accepted. NaN becomes null. Where rows have a column `known_at` (`row_schema` with `known`), it is part of
    the key.

    `recent` holds the stored rows of the weeks before the batch and of its own time (`recent_window`), in any order and
    with any revisions; without it, checks that compare test the batch by itself or not at all. The freshness of a batch
    that is not `live`, such as one that loads history, is not tested.

    Raises:
        NoDataError: there are no rows, which never counts as success.
        BatchError: a check refused the batch as a whole; it carries the report.
        ContractError: the columns are not those of `row_schema`, or a check could not be carried out.
        ConfigError: an expectation of the product is not valid.
    """
    known = KNOWN in rows.column_names
    _require_schema(rows, feed, known)
    if not rows.num_rows:
        raise NoDataError(f"{feed.title}: payload has no rows")
    batch = Batch.of(rows, contract_of(feed, locations, now, known=known))
    series = BatchWithHistory(batch, recent)
    validation = validate_batch(batch, find_faults(series, feed, locations), measure_batch(series, feed, live=live))
    accepted, refused = _split(batch, validation)
    count = 0 if validation.refusals else accepted.num_rows
    counts = {
        "given": rows.num_rows,
        "accepted": count,
        "refused": len(batch) - count,
        "collapsed": batch.collapsed,
    }
    report = validation_report(feed, now, counts, validation)
    if validation.refusals:
        raise BatchError(f"{feed.title}: the batch was refused: {'; '.join(validation.refusals)}", report)
    return Validated(accepted, refused, report, validation.warnings)


def _split(batch: Batch, validation: Validation) -> tuple[pa.Table, pa.Table]:
    """Return the accepted and the refused rows."""
    bad = np.array(sorted(validation.reasons), dtype=np.int64)
    good = np.ones(len(batch), np.bool_)
    good[bad] = False
    order = batch.by_time[good[batch.by_time]]
    accepted = batch.rows
    if len(order) != len(batch) or (np.diff(order) < 0).any():
        accepted = accepted.take(pa.array(order))
    refused = batch.rows.take(pa.array(bad))
    found = zip(
        refused.column(KEY[0]).to_numpy(),
        refused.column(KEY[1]).to_pylist(),
        map(as_json, refused.drop_columns(KEY).to_pylist()),
        (validation.reasons[int(row)] for row in bad),
        strict=True,
    )
    return _null_for_nan(accepted), refused_table(found)


def _null_for_nan(rows: pa.Table) -> pa.Table:
    for place, field in enumerate(rows.schema):
        if pa.types.is_floating(field.type):
            column = rows.column(place)
            rows = rows.set_column(place, field, pc.if_else(pc.is_nan(column), None, column))
    return rows


def _require_schema(rows: pa.Table, feed: Feed, known: bool) -> None:
    expected = row_schema(feed, known=known)
    for field in expected:
        if field.name not in rows.column_names:
            raise ContractError(f"{feed.title}: rows lack the column '{field.name}'")
        if rows.schema.field(field.name).type != field.type:
            given = rows.schema.field(field.name).type
            raise ContractError(f"{feed.title}: column '{field.name}' holds {given}, not {field.type}")
    if rows.column_names != expected.names:
        raise ContractError(f"{feed.title}: columns are {rows.column_names}, not {expected.names}")
