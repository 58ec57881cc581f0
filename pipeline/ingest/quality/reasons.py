"""The reasons of refused rows, counted by kind and read from stored rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from expectations.reasons import Reason, from_json, summarise
from pipeline.ingest.quality.earlier_reasons import parse_reasons


def reasons_of(row: Mapping[str, Any]) -> tuple[Reason, ...]:
    """Return why a row of the quarantine was refused. Rows of earlier releases have a sentence alone."""
    return from_json(row["reasons"]) if row.get("reasons") else parse_reasons(row["reason"])


def is_whole_payload(row: Mapping[str, Any]) -> bool:
    """Return whether a row of the quarantine stands for a payload that was refused as a whole."""
    return any(reason.kind == "payload" for reason in reasons_of(row))


def has_reason(row: Mapping[str, Any], text: str) -> bool:
    """Return whether a text is part of a row's reason, as the row has it or as it is listed."""
    return text in row["reason"] or text in summarise(reasons_of(row))


def count_reasons(refused: pa.Table) -> dict[str, int]:
    """Return how many rows were refused for each reason, most frequent first.

    What differs from row to row, such as a value, is shown as ``…``. A row with several reasons counts once,
    under all of them together, so that the counts add up to the rows.
    """
    counts: Counter[tuple[Reason, ...]] = Counter()
    distinct = refused.select(["reason", "reasons"]).group_by(["reason", "reasons"]).aggregate([([], "count_all")])
    for entry in distinct.to_pylist():
        counts[tuple(reason.general for reason in reasons_of(entry))] += entry["count_all"]
    named: Counter[str] = Counter()
    for reasons, count in counts.items():
        named[summarise(reasons)] += count
    return dict(sorted(named.items(), key=lambda item: (-item[1], item[0])))
