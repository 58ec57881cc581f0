"""The observation contract applied to a batch: which rows may enter the store, which may not and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations.observations import LOCATION, OFF_GRID, TIME, Check, ObservationContract, VariableLimits
from expectations.suites import validate
from pipeline.config import Product
from pipeline.errors import ContractError, NoDataError
from pipeline.locations import Locations
from pipeline.sources.base import refused_table, row_schema
from pipeline.sources.cells import as_json, plain

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult

KEY = [TIME, LOCATION]
_EXAMPLES = 5
Reasons = dict[int, list[str]]


@dataclass(frozen=True, slots=True)
class Checked:
    """A batch after its contract; given rows = accepted + refused + collapsed."""

    accepted: pa.Table
    """Rows of `row_schema`, one a key, sorted by valid_time then location."""
    refused: pa.Table
    """Rows of `REFUSED_SCHEMA`, in payload order."""
    report: dict[str, Any]
    """What was checked and found, as small JSON data."""


def contract_of(product: Product, locations: Locations, now: datetime) -> ObservationContract:
    """Return what a product promises of its observations at an instant."""
    feed = product.feed
    variables = []
    for name in feed.variables:
        units, (low, high), _, _ = feed.variable(name)
        variables.append(VariableLimits(name, units, low, high))
    return ObservationContract(locations.ids, tuple(variables), feed.step, now, tolerance=feed.step)


def check_rows(rows: pa.Table, product: Product, locations: Locations, *, now: datetime) -> Checked:
    """Return the rows split by the contract of the product.

    Identical rows become one. Of rows that share a key and differ, the last one in payload order that breaks
    nothing else is accepted. NaN becomes null.

    Raises:
        NoDataError: there are no rows, which never counts as success.
        ContractError: the columns are not those of `row_schema`, or a check could not be carried out.
    """
    _require_schema(rows, product)
    if not rows.num_rows:
        raise NoDataError(f"{product.name}: payload has no rows")
    frame = rows.to_pandas()
    distinct = ~frame.duplicated(keep="last").to_numpy()
    rows, frame = rows.filter(pa.array(distinct)), frame[distinct].reset_index(drop=True)

    contract = contract_of(product, locations, now)
    result = validate(frame, contract)
    reasons = _refusals(frame, result, contract.checks())
    bad = np.array(sorted(reasons), dtype=np.int64)
    good = np.ones(len(frame), np.bool_)
    good[bad] = False
    accepted = _null_for_nan(rows.filter(pa.array(good))).sort_by([(name, "ascending") for name in KEY])
    refused = _refused(rows.take(pa.array(bad)), [reasons[int(row)] for row in bad])
    counts = {
        "given": len(distinct),
        "accepted": accepted.num_rows,
        "refused": refused.num_rows,
        "collapsed": int((~distinct).sum()),
    }
    return Checked(accepted, refused, _report(product, now, counts, result, contract.checks()))


def _refusals(frame: pd.DataFrame, result: ExpectationSuiteValidationResult, checks: tuple[Check, ...]) -> Reasons:
    """Return every reason of every refused row, in the order of the checks."""
    reasons: Reasons = {}
    clashing: list[int] = []
    for outcome in sorted(result.results, key=_place):
        check, broken = checks[_place(outcome)], outcome.result.get("unexpected_index_list") or []
        if not outcome.success and not broken:
            raise ContractError(f"the check '{check.template}' failed to run: {outcome.exception_info}")
        if check.kind == "unique":
            clashing = sorted(broken)
            continue
        values = frame[TIME if check.column == OFF_GRID else check.column].iloc[broken]
        for row, value in zip(broken, values, strict=True):
            reasons.setdefault(row, []).append(check.reason(value))
    # Of rows that clash, those at fault anyway say so; the last of the others wins.
    sound = frame.iloc[[row for row in clashing if row not in reasons]]
    for row in sound.index[sound.duplicated(KEY, keep="last")]:
        reasons[row] = [checks[-1].template]
    return reasons


def _refused(rows: pa.Table, reasons: list[list[str]]) -> pa.Table:
    times = rows.column(TIME).to_numpy()
    locations = rows.column(LOCATION).to_pylist()
    values = rows.drop_columns(KEY).to_pylist()
    cells = zip(times, locations, map(as_json, values), map("; ".join, reasons), strict=True)
    return refused_table(cells)


def _report(
    product: Product,
    now: datetime,
    counts: dict[str, int],
    result: ExpectationSuiteValidationResult,
    checks: tuple[Check, ...],
) -> dict[str, Any]:
    """Return the suite's own account without what is large or differs between equal runs."""
    for outcome in result.results:
        for name in ("unexpected_list", "unexpected_index_list", "unexpected_index_query"):
            outcome.result.pop(name, None)  # read already, and too long to write out
    told = result.to_json_dict()  # type: ignore[no-untyped-call]
    outcomes = sorted(told["results"], key=lambda outcome: outcome["expectation_config"]["meta"]["check"])
    return {
        "product": product.name,
        "checked_at": now.astimezone(UTC).isoformat(),
        "great_expectations_version": told["meta"]["great_expectations_version"],
        "success": told["success"],
        "counts": counts,
        "statistics": told["statistics"],
        "checks": [
            {
                "expectation": outcome["expectation_config"]["type"],
                "column": check.column,
                "reason": check.template.replace("{value}", "…"),
                "success": outcome["success"],
                "unexpected": outcome["result"].get("unexpected_count", 0),
                "examples": [
                    plain(value) for value in outcome["result"].get("partial_unexpected_list", [])[:_EXAMPLES]
                ],
            }
            for check, outcome in zip(checks, outcomes, strict=True)
        ],
    }


def _place(outcome: ExpectationValidationResult) -> int:
    config = outcome.expectation_config
    if config is None or config.meta is None:
        raise ContractError("a check came back without its name")
    return int(config.meta["check"])


def _null_for_nan(rows: pa.Table) -> pa.Table:
    for place, field in enumerate(rows.schema):
        if pa.types.is_floating(field.type):
            column = rows.column(place)
            rows = rows.set_column(place, field, pc.if_else(pc.is_nan(column), None, column))
    return rows


def _require_schema(rows: pa.Table, product: Product) -> None:
    expected = row_schema(product)
    for field in expected:
        if field.name not in rows.column_names:
            raise ContractError(f"{product.name}: rows lack the column '{field.name}'")
        if rows.schema.field(field.name).type != field.type:
            given = rows.schema.field(field.name).type
            raise ContractError(f"{product.name}: column '{field.name}' holds {given}, not {field.type}")
    if rows.column_names != expected.names:
        raise ContractError(f"{product.name}: columns are {rows.column_names}, not {expected.names}")
