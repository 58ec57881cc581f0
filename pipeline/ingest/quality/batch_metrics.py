"""Metrics of a batch as a whole: unit change, drift, completeness, order of times, freshness."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from expectations.completeness import completeness, share_backwards
from expectations.drift import drift
from expectations.observations import BatchKind, Check, batch_check
from expectations.unit_change import unit_change
from pipeline.config import Feed
from pipeline.ingest.quality.batch import Batch, BatchWithHistory
from pipeline.ingest.quality.contract import unit_changes
from pipeline.steps import mean_length, period_name
from pipeline.times import as_datetime

_MOST_LISTED = 60
_STEPS_LATE = 3

Measures = dict[int, float]
Sentences = dict[int, str]


@dataclass
class BatchMetrics:
    """Measures of a batch: one row for the batch itself and one for each variable, one column per check."""

    frame: pd.DataFrame
    checks: list[Check] = field(default_factory=list)
    sentences: dict[tuple[BatchKind, int], str] = field(default_factory=dict)
    """What to report where a check is broken, by check and row of the frame."""
    not_tested: list[BatchKind] = field(default_factory=list)
    """Checks that had too few values to test."""
    completeness: dict[str, Any] = field(default_factory=dict)

    def add(self, check: Check, measures: Measures, sentences: Sentences) -> None:
        """Add the measures of a check by row of the frame; without any, the check counts as not tested."""
        kind: BatchKind = check.kind  # type: ignore[assignment]
        if not measures:
            self.not_tested.append(kind)
            return
        self.frame[check.column] = pd.Series(measures, dtype=np.float64)
        self.checks.append(check)
        self.sentences |= {(kind, row): sentences[row] for row in measures}


def measure_batch(series: BatchWithHistory, feed: Feed, *, live: bool) -> BatchMetrics:
    """Return the metrics of a batch, without those whose check is off.

    The freshness is measured of a live batch of a live feed only.
    """
    batch, checks = series.batch, feed.quality.checks
    metrics = BatchMetrics(pd.DataFrame({"subject": ["", *feed.variables]}))
    if checks.unit_change.severity != "off":
        limit = checks.unit_change.at_most
        metrics.add(batch_check("unit_change", checks.unit_change.severity, high=limit), *_unit_change(series, feed))
    if checks.drift.severity != "off":
        metrics.add(batch_check("drift", checks.drift.severity, high=1.0), *_drift(series, feed))
    _completeness(metrics, batch, feed)
    if checks.order.severity != "off":
        _order(metrics, batch, feed)
    if checks.freshness.severity != "off" and feed.mode == "live" and live and not feed.is_covariate:
        _freshness(metrics, batch, feed)
    return metrics


def _unit_change(series: BatchWithHistory, feed: Feed) -> tuple[Measures, Sentences]:
    measures, sentences = {}, {}
    if series.stored is not None:
        for row, name in enumerate(feed.variables, 1):
            votes = unit_change(series.new(name), series.old(name), unit_changes(feed, name))
            if votes.locations:
                measures[row] = votes.share
                how = f" if it is {votes.change.description}" if votes.change else ""
                sentences[row] = (
                    f"{name} agrees with recent values at {votes.share:.0%} of {votes.locations:,} locations only{how}"
                )
    return measures, sentences


def _drift(series: BatchWithHistory, feed: Feed) -> tuple[Measures, Sentences]:
    measures, sentences = {}, {}
    day = max(1, math.floor(timedelta(days=1) / mean_length(feed.step)))
    if series.stored is not None:
        first = series.batch.points.step.min(initial=np.iinfo(np.int64).max)
        for row, name in enumerate(feed.variables, 1):
            old = series.old(name)
            found = drift(series.new(name), old.where(old.step < first), day=day)
            if found.locations:
                allowed = max(feed.quality.checks.drift.at_most, found.chance)
                measures[row] = found.distance / allowed
                sentences[row] = (
                    f"{name} is distributed differently from the last weeks: distance {found.distance:.2f}, "
                    f"usually at most {allowed:.2f}"
                )
    return measures, sentences


def _completeness(metrics: BatchMetrics, batch: Batch, feed: Feed) -> None:
    points = batch.points
    present = np.zeros(len(points.row), np.bool_)
    for name in feed.variables:
        present |= ~np.isnan(np.asarray(batch.rows[name].to_numpy(), np.float64)[points.row])
    found = completeness(points.location[present], points.step[present])
    ids = batch.contract.stations
    metrics.completeness = {
        "share": _rounded(found.share),
        "times": found.times,
        "locations": len(found.locations),
        "locations_of_feed": len(ids),
    }
    if len(found.locations) < _MOST_LISTED:
        shares = found.present / max(found.times, 1)
        metrics.completeness["by_location"] = {
            ids[index]: _rounded(share) for index, share in zip(found.locations, shares, strict=True)
        }
    spec = feed.quality.checks.completeness
    if spec.severity != "off":
        sentence = (
            f"{found.share:.1%} of {found.times:,} times at {len(found.locations):,} locations are there, "
            f"at least {spec.at_least:.0%} are expected"
        )
        measures = {0: found.share} if found.expected else {}
        metrics.add(batch_check("completeness", spec.severity, low=spec.at_least), measures, {0: sentence})


def _order(metrics: BatchMetrics, batch: Batch, feed: Feed) -> None:
    spec = feed.quality.checks.order
    share = share_backwards(batch.location[batch.timed], batch.time[batch.timed])
    measures = {} if share is None else {0: share}
    sentences = {} if share is None else {0: f"{share:.1%} of the times go back from row to row of a location"}
    metrics.add(batch_check("order", spec.severity, high=spec.at_most), measures, sentences)  # type: ignore[arg-type]


def _freshness(metrics: BatchMetrics, batch: Batch, feed: Feed) -> None:
    spec, contract = feed.quality.checks.freshness, batch.contract
    allowed = spec.within if spec.within is not None else _STEPS_LATE * mean_length(feed.step)
    times = batch.time[batch.points.row]
    measures, sentences = {}, {}
    if len(times):
        newest = as_datetime(times.max().astype("datetime64[us]"))
        late = contract.now - feed.delay - newest
        measures[0] = max(late / timedelta(hours=1), 0.0)
        sentences[0] = (
            f"the newest value is of {period_name(newest, feed.step)}, {late / mean_length(feed.step):,.0f} steps late"
        )
    high = allowed / timedelta(hours=1)
    metrics.add(batch_check("freshness", spec.severity, high=high), measures, sentences)  # type: ignore[arg-type]


def _rounded(share: float) -> float:
    return round(float(share), 4)
