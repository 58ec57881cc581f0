"""A batch validated by Great Expectations: which rows are refused and why, refusals of the batch, and warnings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from expectations.observations import EARLY, KNOWN, OFF_GRID, TIME, BatchKind, Check
from expectations.reasons import Reason
from expectations.suites import error_of, index_of, validate
from pipeline.errors import ConfigError, ContractError
from pipeline.ingest.quality.batch import Batch
from pipeline.ingest.quality.batch_metrics import BatchMetrics
from pipeline.ingest.quality.series_checks import Finding
from pipeline.steps import CalendarStep, period_name

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult

_DERIVED = {OFF_GRID: TIME, EARLY: KNOWN}


@dataclass
class Outcome:
    """The outcome of one check."""

    check: Check
    result: ExpectationValidationResult
    rows: list[int]
    """Rows of its frame that break the check, ascending."""
    sentences: list[str] = field(default_factory=list)
    """What broke it, for a check whose severity is not `row` and for a check of series."""


@dataclass
class Validation:
    """The outcomes of all checks of a batch."""

    outcomes: list[Outcome]
    results: list[ExpectationSuiteValidationResult]
    metrics: BatchMetrics
    reasons: dict[int, list[Reason]] = field(default_factory=dict)
    """All reasons of each refused row, in the order of the checks."""
    refusals: tuple[str, ...] = ()
    """Why the batch is refused as a whole; empty when it is not."""
    warnings: tuple[str, ...] = ()


def validate_batch(batch: Batch, findings: Sequence[Finding], metrics: BatchMetrics) -> Validation:
    """Return the outcomes of the checks of rows, of series and of the batch as a whole.

    Raises:
        ContractError: a check could not be carried out.
        ConfigError: an expectation of the product could not be carried out.
    """
    checks = batch.contract.checks()
    for kind in batch.contract.series_checks:
        # The measure of the worst variable, in units of its limit: one column per check for any number of variables.
        measure = np.zeros(len(batch))
        for finding in findings:
            if finding.kind == kind:
                np.maximum.at(measure, finding.rows, finding.measure / finding.limit)
        batch.frame[kind] = measure
    results = [validate(batch.frame, checks)]
    validation = Validation(_outcomes(results[0], checks), results, metrics)
    if metrics.checks:
        results.append(validate(metrics.frame, metrics.checks))
        validation.outcomes += _outcomes(results[1], metrics.checks)
    refusals, warnings = [], []
    for outcome in validation.outcomes:
        if outcome.result.success:
            continue
        if outcome.check.severity != "row" or outcome.check.kind in batch.contract.series_checks:
            outcome.sentences = _describe(outcome, batch, findings, metrics)
        match outcome.check.severity:
            case "row":
                _refuse_rows(outcome, batch, findings, validation.reasons)
            case "batch":
                refusals += outcome.sentences
            case "warn":
                warnings += outcome.sentences
    validation.refusals, validation.warnings = tuple(refusals), tuple(warnings)
    return validation


def _outcomes(result: ExpectationSuiteValidationResult, checks: Sequence[Check]) -> list[Outcome]:
    outcomes = []
    for found in sorted(result.results, key=index_of):
        check = checks[index_of(found)]
        error = error_of(found)
        if error and check.kind == "custom":
            remedy = "correct feed.quality.expectations"
            raise ConfigError(check.expectation, "", f"could not be carried out: {error.splitlines()[0]}", remedy)
        if error:
            raise ContractError(f"the check '{check.fault}' failed to run: {error}")
        outcomes.append(Outcome(check, found, sorted(found.result.get("unexpected_index_list") or [])))
    return outcomes


def _refuse_rows(outcome: Outcome, batch: Batch, findings: Sequence[Finding], reasons: dict[int, list[Reason]]) -> None:
    check = outcome.check
    if check.kind == "unique":
        # Of rows with one key, the last of those that have no other fault is accepted.
        sound = batch.frame.iloc[[row for row in outcome.rows if row not in reasons]]
        for row in sound.index[sound.duplicated(list(check.columns), keep="last")]:
            reasons[row] = [check.reason_for(None)]
    elif check.kind in batch.contract.series_checks:
        for finding in (each for each in findings if each.kind == check.kind):
            values = batch.frame[finding.variable.name].to_numpy()
            for index, row in enumerate(finding.rows):
                reasons.setdefault(int(row), []).append(finding.reason(index, float(values[row])))
    else:
        for row, value in zip(outcome.rows, _values(outcome, batch), strict=True):
            reasons.setdefault(row, []).append(check.reason_for(value))


def _values(outcome: Outcome, batch: Batch) -> list[object]:
    """Return the values of the rows that break a check of rows."""
    check = outcome.check
    columns = check.columns if check.kind == "custom" else (_DERIVED.get(check.column, check.column),)
    cells = [batch.frame[name].iloc[outcome.rows].tolist() for name in columns]
    return cells[0] if len(cells) == 1 else [", ".join(map(str, row)) for row in zip(*cells, strict=True)]


def _describe(outcome: Outcome, batch: Batch, findings: Sequence[Finding], metrics: BatchMetrics) -> list[str]:
    """Return sentences on a broken check, for the batch as a whole."""
    check = outcome.check
    if any(check is each for each in metrics.checks):
        kind: BatchKind = check.kind  # type: ignore[assignment]
        return [metrics.sentences[kind, row] for row in outcome.rows]
    if check.kind in batch.contract.series_checks:
        return [_describe_finding(finding, batch) for finding in findings if finding.kind == check.kind]
    if outcome.rows:
        return [f"{len(outcome.rows):,} of {len(batch):,} rows: {check.fault}"]
    observed = outcome.result.result.get("observed_value")
    return [check.fault if observed is None else f"{check.fault}: observed {observed}"]


def _describe_finding(finding: Finding, batch: Batch) -> str:
    worst = int(finding.rows[np.argmax(finding.measure)])
    row = batch.rows.slice(worst, 1).to_pylist()[0]
    locations = len(np.unique(batch.location[finding.rows]))
    step = batch.contract.step
    when = period_name(row[TIME], step) if isinstance(step, CalendarStep) else f"{row[TIME]:%Y-%m-%d %H:%M} UTC"
    where = f"{row['location']}, {when}"
    return finding.describe(row[finding.variable.name], where, locations)
