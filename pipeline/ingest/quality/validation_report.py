"""The validation report of a batch as small strict JSON: for the receipt, the page and the artifact."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from expectations.observations import MEASURES
from pipeline.config import Feed
from pipeline.ingest.decoding.cells import plain
from pipeline.ingest.quality.validation import Outcome, Validation

_EXAMPLES = 5
_LONG = ("unexpected_list", "unexpected_index_list", "unexpected_index_query", "partial_unexpected_counts")


def validation_report(feed: Feed, now: datetime, counts: dict[str, int], validation: Validation) -> dict[str, Any]:
    """Return the report of Great Expectations without what is large or differs between equal runs."""
    for outcome in validation.outcomes:
        for name in _LONG:
            outcome.result.result.pop(name, None)  # already used, and too long to write out
    results = [result.to_json_dict() for result in validation.results]  # type: ignore[no-untyped-call]
    entries = [entry for each in results for entry in sorted(each["results"], key=_index)]
    statistics: Counter[str] = Counter()
    for each in results:
        statistics.update({name: value for name, value in each["statistics"].items() if name != "success_percent"})
    return {
        "product": feed.title,
        "checked_at": now.astimezone(UTC).isoformat(),
        "great_expectations_version": results[0]["meta"]["great_expectations_version"],
        "success": all(each.result.success for each in validation.outcomes if each.check.severity != "warn"),
        "verdict": "refused" if validation.refusals else "accepted",
        "counts": counts,
        "statistics": dict(statistics),
        "refusals": list(validation.refusals),
        "warnings": list(validation.warnings),
        "completeness": validation.metrics.completeness,
        "not_judged": list(validation.metrics.not_tested),
        "checks": [_entry(outcome, entry) for outcome, entry in zip(validation.outcomes, entries, strict=True)],
    }


def _entry(outcome: Outcome, entry: dict[str, Any]) -> dict[str, Any]:
    check = outcome.check
    # A measure alone means nothing to people; the sentences say what was found.
    given = [] if check.kind in MEASURES else entry["result"].get("partial_unexpected_list", [])
    examples = [plain(value) for value in given[:_EXAMPLES]]
    return {
        "check": check.kind,
        "expectation": entry["expectation_config"]["type"],
        "column": check.column,
        "reason": check.fault,
        "severity": check.severity,
        "success": entry["success"],
        "unexpected": entry["result"].get("unexpected_count", 0 if entry["success"] else 1),
        "examples": examples,
        "found": outcome.sentences,
    }


def _index(entry: dict[str, Any]) -> int:
    return int(entry["expectation_config"]["meta"]["check"])
