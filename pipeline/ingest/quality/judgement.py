"""Measures put before Great Expectations, and what its outcomes mean by their severity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from expectations.observations import EARLY, KNOWN, OFF_GRID, TIME, BatchKind, Check
from expectations.suites import fault_of, place_of, validate
from pipeline.errors import ConfigError, ContractError
from pipeline.ingest.quality.batch import Batch
from pipeline.ingest.quality.batch_metrics import BatchMetrics
from pipeline.ingest.quality.series import Finding

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult

_DERIVED = {OFF_GRID: TIME, EARLY: KNOWN}


@dataclass
class Outcome:
    """What became of one check."""

    check: Check
    result: ExpectationValidationResult
    rows: list[int]
    """Rows of its frame that break it, ascending."""
    sentences: list[str] = field(default_factory=list)
    """What broke it, for a check whose severity is not `row`, and for one of series."""


@dataclass
class Judgement:
    """What a batch is in for."""

    outcomes: list[Outcome]
    results: list[ExpectationSuiteValidationResult]
    whole: BatchMetrics
    reasons: dict[int, list[str]] = field(default_factory=dict)
    """Every reason of every refused row, in the order of the checks."""
    refusals: tuple[str, ...] = ()
    """Why the batch is refused as a whole; empty where it is not."""
    warnings: tuple[str, ...] = ()


def judge_batch(batch: Batch, findings: Sequence[Finding], whole: BatchMetrics) -> Judgement:
    """Return what Great Expectations says of a batch, its series and the batch as a whole.

    Raises:
        ContractError: a check could not be carried out.
        ConfigError: an expectation of the product could not be carried out.
    """
    checks = batch.contract.checks()
    for kind in batch.contract.measured:
        # The measure of the worst variable, in units of what is allowed: one column a check, however many variables.
        measure = np.zeros(len(batch))
        for finding in findings:
            if finding.kind == kind:
                np.maximum.at(measure, finding.rows, finding.measure / finding.limit)
        batch.frame[kind] = measure
    results = [validate(batch.frame, checks)]
    judgement = Judgement(_outcomes(results[0], checks), results, whole)
    if whole.checks:
        results.append(validate(whole.frame, whole.checks))
        judgement.outcomes += _outcomes(results[1], whole.checks)
    refusals, warnings = [], []
    for outcome in judgement.outcomes:
        if outcome.result.success:
            continue
        if outcome.check.severity != "row" or outcome.check.kind in batch.contract.measured:
            outcome.sentences = _sentences(outcome, batch, findings, whole)
        match outcome.check.severity:
            case "row":
                _refuse(outcome, batch, findings, judgement.reasons)
            case "batch":
                refusals += outcome.sentences
            case "warn":
                warnings += outcome.sentences
    judgement.refusals, judgement.warnings = tuple(refusals), tuple(warnings)
    return judgement


def _outcomes(result: ExpectationSuiteValidationResult, checks: Sequence[Check]) -> list[Outcome]:
    outcomes = []
    for told in sorted(result.results, key=place_of):
        check = checks[place_of(told)]
        fault = fault_of(told)
        if fault and check.kind == "custom":
            remedy = "correct feed.quality.expectations"
            raise ConfigError(check.expectation, "", f"could not be carried out: {fault.splitlines()[0]}", remedy)
        if fault:
            raise ContractError(f"the check '{check.template}' failed to run: {fault}")
        outcomes.append(Outcome(check, told, sorted(told.result.get("unexpected_index_list") or [])))
    return outcomes


def _refuse(outcome: Outcome, batch: Batch, findings: Sequence[Finding], reasons: dict[int, list[str]]) -> None:
    check = outcome.check
    if check.kind == "unique":
        # Of rows that clash, those at fault anyway say so; the last of the others wins.
        sound = batch.frame.iloc[[row for row in outcome.rows if row not in reasons]]
        for row in sound.index[sound.duplicated(list(check.columns), keep="last")]:
            reasons[row] = [check.template]
    elif check.kind in batch.contract.measured:
        for finding in (each for each in findings if each.kind == check.kind):
            values = batch.frame[finding.variable.name].to_numpy()
            for place, row in enumerate(finding.rows):
                reasons.setdefault(int(row), []).append(finding.reason(place, float(values[row])))
    else:
        for row, value in zip(outcome.rows, _values(outcome, batch), strict=True):
            reasons.setdefault(row, []).append(check.reason(value))


def _values(outcome: Outcome, batch: Batch) -> list[object]:
    """What the rows have that break a check of single rows."""
    check = outcome.check
    columns = check.columns if check.kind == "custom" else (_DERIVED.get(check.column, check.column),)
    cells = [batch.frame[name].iloc[outcome.rows].tolist() for name in columns]
    return cells[0] if len(cells) == 1 else [", ".join(map(str, row)) for row in zip(*cells, strict=True)]


def _sentences(outcome: Outcome, batch: Batch, findings: Sequence[Finding], whole: BatchMetrics) -> list[str]:
    """What a broken check says of the batch."""
    check = outcome.check
    if any(check is each for each in whole.checks):
        kind: BatchKind = check.kind  # type: ignore[assignment]
        return [whole.words[kind, row] for row in outcome.rows]
    if check.kind in batch.contract.measured:
        return [_sentence(finding, batch) for finding in findings if finding.kind == check.kind]
    told = check.template.replace(" {value}", "").replace("'{value}' ", "")
    if outcome.rows:
        return [f"{len(outcome.rows):,} of {len(batch):,} rows: {told}"]
    observed = outcome.result.result.get("observed_value")
    return [told if observed is None else f"{told}: observed {observed}"]


def _sentence(finding: Finding, batch: Batch) -> str:
    worst = int(finding.rows[np.argmax(finding.measure)])
    row = batch.rows.slice(worst, 1).to_pylist()[0]
    places = len(np.unique(batch.location[finding.rows]))
    where = f"{row['location']}, {row[TIME]:%Y-%m-%d %H:%M} UTC"
    return finding.sentence(row[finding.variable.name], where, places)
