"""Refused rows counted by kind of reason."""

from __future__ import annotations

import re
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

_TOLD = re.compile(
    r"'[^']*'|\"[^\"]*\""  # what a cell said
    r"|\d{4}-\d\d-\d\d[T ][\d:.]+(?:Z|[+-][\d:]+)?"  # an instant
    r"|(?<=line )\d+(?= has )|(?<= has )\d+(?= columns)"  # a ragged line
    r"|(?<=for )\d+(?= values)|(?<=by )[\d.e+-]+(?= a step)|(?<=is )[\d.]+(?= sigmas)"  # how far a check is broken
)
_VALUE = re.compile(r"(?:(?<=^)|(?<=; ))([a-z][a-z0-9_-]*) (?:[+-]?[\d.]+(?:e[+-]?\d+)?|[+-]?inf) ")


def count_reasons(refused: pa.Table) -> dict[str, int]:
    """Return how many rows were refused for each reason, most frequent first.

    What differs from row to row, such as a value, is shown as ``…``. A row with several reasons counts once,
    under all of them together, so that the counts add up to the rows.
    """
    counts: Counter[str] = Counter()
    for entry in pc.value_counts(refused.column("reason")).to_pylist():
        counts[kind_of(entry["values"])] += entry["counts"]
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def kind_of(reason: str) -> str:
    """Return a reason without what differs from row to row, such as a value, which is shown as ``…``."""
    return _VALUE.sub(r"\1 … ", _TOLD.sub("…", reason))
