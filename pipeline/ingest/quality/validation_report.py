"""What was checked and found, as small strict JSON data: for the receipt, the page and the artifact."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from expectations.observations import MEASURES
from pipeline.config import Feed
from pipeline.ingest.decoding.cells import plain
from pipeline.ingest.quality.judgement import Judgement, Outcome

_EXAMPLES = 5
_LONG = ("unexpected_list", "unexpected_index_list", "unexpected_index_query", "partial_unexpected_counts")


def validation_report(feed: Feed, now: datetime, counts: dict[str, int], judgement: Judgement) -> dict[str, Any]:
    """Return Great Expectations' own account without what is large or differs between equal runs."""
    for outcome in judgement.outcomes:
        for name in _LONG:
            outcome.result.result.pop(name, None)  # read already, and too long to write out
    told = [result.to_json_dict() for result in judgement.results]  # type: ignore[no-untyped-call]
    entries = [entry for each in told for entry in sorted(each["results"], key=_place)]
    statistics: Counter[str] = Counter()
    for each in told:
        statistics.update({name: value for name, value in each["statistics"].items() if name != "success_percent"})
    return {
        "product": feed.title,
        "checked_at": now.astimezone(UTC).isoformat(),
        "great_expectations_version": told[0]["meta"]["great_expectations_version"],
        "success": all(each.result.success for each in judgement.outcomes if each.check.severity != "warn"),
        "verdict": "refused" if judgement.refusals else "accepted",
        "counts": counts,
        "statistics": dict(statistics),
        "refusals": list(judgement.refusals),
        "warnings": list(judgement.warnings),
        "completeness": judgement.whole.completeness,
        "not_judged": list(judgement.whole.unjudged),
        "checks": [_entry(outcome, entry) for outcome, entry in zip(judgement.outcomes, entries, strict=True)],
    }


def _entry(outcome: Outcome, entry: dict[str, Any]) -> dict[str, Any]:
    check = outcome.check
    # A measure alone tells nobody anything: the sentences say what was found.
    given = [] if check.kind in MEASURES else entry["result"].get("partial_unexpected_list", [])
    examples = [plain(value) for value in given[:_EXAMPLES]]
    return {
        "check": check.kind,
        "expectation": entry["expectation_config"]["type"],
        "column": check.column,
        "reason": check.template.replace("{value}", "…"),
        "severity": check.severity,
        "success": entry["success"],
        "unexpected": entry["result"].get("unexpected_count", 0 if entry["success"] else 1),
        "examples": examples,
        "found": outcome.sentences,
    }


def _place(entry: dict[str, Any]) -> int:
    return int(entry["expectation_config"]["meta"]["check"])
