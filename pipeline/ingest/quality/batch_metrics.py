"""Checks of a batch as a whole: its unit, drift, completeness, the order of its times, and its freshness."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from typing import Any

import numpy as np
import pandas as pd

from expectations.coverage import Completeness, completeness, share_backwards
from expectations.drift import drift
from expectations.observations import BatchKind, Check, batch_check
from expectations.unit_change import unit_change
from pipeline.config import Feed
from pipeline.ingest.quality.batch import Batch, BatchWithHistory
from pipeline.ingest.quality.contract import unit_changes
from pipeline.times import as_datetime

_SHOWN = 60
_LATE = 3


@dataclass
class BatchMetrics:
    """What was measured of a batch: a row for the batch itself and one for each variable, a column a check."""

    frame: pd.DataFrame
    checks: list[Check] = field(default_factory=list)
    words: dict[tuple[BatchKind, int], str] = field(default_factory=dict)
    """What is said where a check is broken, by check and row of the frame."""
    unjudged: list[BatchKind] = field(default_factory=list)
    """Checks that had too little to go by."""
    completeness: dict[str, Any] = field(default_factory=dict)

    def tell(self, check: Check, measures: dict[int, float], words: dict[int, str]) -> None:
        """Add the measures of a check by row of the frame; of none, the check was not judged."""
        kind: BatchKind = check.kind  # type: ignore[assignment]
        if not measures:
            self.unjudged.append(kind)
            return
        self.frame[check.column] = pd.Series(measures, dtype=np.float64)
        self.checks.append(check)
        self.words |= {(kind, row): words[row] for row in measures}


def measure(beside: BatchWithHistory, feed: Feed, *, live: bool) -> BatchMetrics:
    """Return what the checks of the batch as a whole measure; nothing for those that are off.

    The freshness of a batch that is not `live` says nothing, and that of an archive neither.
    """
    batch, checks = beside.batch, feed.quality.checks
    whole = BatchMetrics(pd.DataFrame({"subject": ["", *feed.variables]}))
    for kind, spec in (("unit_change", checks.unit_change), ("drift", checks.drift)):
        if spec.severity != "off":
            one = batch_check(kind, spec.severity, high=spec.at_most if kind == "unit_change" else 1.0)  # type: ignore[arg-type]
            found = _unit_change(beside, feed) if kind == "unit_change" else _drift(beside, feed)
            whole.tell(one, *found)
    _completeness(whole, batch, feed)
    if checks.order.severity != "off":
        share = share_backwards(batch.location[batch.timed], batch.time[batch.timed])
        said = {} if share is None else {0: f"{share:.1%} of the times go back from row to row of a location"}
        measures = {} if share is None else {0: share}
        whole.tell(batch_check("order", checks.order.severity, high=checks.order.at_most), measures, said)
    if checks.freshness.severity != "off" and feed.mode == "live" and live and not feed.is_covariate:
        _freshness(whole, batch, feed)
    return whole


def _unit_change(beside: BatchWithHistory, feed: Feed) -> tuple[dict[int, float], dict[int, str]]:
    measures, words = {}, {}
    if beside.stored is not None:
        for row, name in enumerate(feed.variables, 1):
            votes = unit_change(beside.new(name), beside.old(name), unit_changes(feed, name))
            if votes.judged:
                measures[row] = votes.share
                how = f" if it is {votes.change.words}" if votes.change else ""
                words[row] = (
                    f"{name} agrees with recent values at {votes.share:.0%} of {votes.judged:,} locations only{how}"
                )
    return measures, words


def _drift(beside: BatchWithHistory, feed: Feed) -> tuple[dict[int, float], dict[int, str]]:
    measures, words = {}, {}
    day = math.floor(timedelta(days=1) / feed.step)
    if beside.stored is not None:
        first = beside.batch.points.step.min(initial=np.iinfo(np.int64).max)
        for row, name in enumerate(feed.variables, 1):
            old = beside.old(name)
            found = drift(beside.new(name), old.where(old.step < first), day=day)
            if found.judged:
                allowed = max(feed.quality.checks.drift.at_most, found.chance)
                measures[row] = found.distance / allowed
                words[row] = (
                    f"{name} is spread otherwise than in the last weeks: distance {found.distance:.2f}, "
                    f"at most {allowed:.2f} is usual"
                )
    return measures, words


def _completeness(whole: BatchMetrics, batch: Batch, feed: Feed) -> None:
    points = batch.points
    told = np.zeros(len(points.row), np.bool_)
    for name in feed.variables:
        told |= ~np.isnan(np.asarray(batch.rows[name].to_numpy(), np.float64)[points.row])
    found = completeness(points.location[told], points.step[told])
    ids = batch.contract.stations
    whole.completeness = {
        "share": _rounded(found.share),
        "times": found.times,
        "locations": len(found.places),
        "locations_of_feed": len(ids),
    }
    if len(found.places) < _SHOWN:
        shares = found.present / max(found.times, 1)
        whole.completeness["by_location"] = {
            ids[place]: _rounded(share) for place, share in zip(found.places, shares, strict=True)
        }
    spec = feed.quality.checks.completeness
    if spec.severity != "off":
        said = _said_of(found, spec.at_least)
        measures = {0: found.share} if found.expected else {}
        whole.tell(batch_check("completeness", spec.severity, low=spec.at_least), measures, {0: said})


def _said_of(found: Completeness, at_least: float) -> str:
    return (
        f"{found.share:.1%} of {found.times:,} times at {len(found.places):,} locations are there, "
        f"at least {at_least:.0%} are expected"
    )


def _freshness(whole: BatchMetrics, batch: Batch, feed: Feed) -> None:
    spec, contract = feed.quality.checks.freshness, batch.contract
    allowed = spec.within if spec.within is not None else _LATE * feed.step
    times = batch.time[batch.points.row]
    measures, words = {}, {}
    if len(times):
        newest = as_datetime(times.max().astype("datetime64[us]"))
        late = contract.now - feed.delay - newest
        measures[0] = max(late / timedelta(hours=1), 0.0)
        words[0] = (
            f"the newest value is of {newest.astimezone(UTC):%Y-%m-%d %H:%M} UTC, {late / feed.step:,.0f} steps late"
        )
    high = allowed / timedelta(hours=1)
    whole.tell(batch_check("freshness", spec.severity, high=high), measures, words)  # type: ignore[arg-type]


def _rounded(share: float) -> float:
    return round(float(share), 4)
