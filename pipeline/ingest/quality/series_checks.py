"""Checks of series: the persistence test, the step test and the buddy check, on a batch with its history."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from expectations import buddy, persistence
from expectations.observations import SeriesKind, VariableLimits
from expectations.reasons import Reason
from expectations.series import Bools, Floats, Ints, Series
from expectations.step_test import changes_per_step
from pipeline.config import Feed
from pipeline.ingest.quality.batch import BatchWithHistory
from pipeline.locations import Locations
from pipeline.steps import mean_length

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Finding:
    """The rows in which a variable fails a check of series."""

    kind: SeriesKind
    variable: VariableLimits
    rows: Ints
    """Rows of the batch."""
    measure: Floats
    """Measure of each row: values in the run, change per step, robust standard deviations."""
    limit: float

    def reason(self, index: int, value: float) -> Reason:
        """Return why the row at an index of `rows` is refused."""
        measure = float(self.measure[index])
        measure = round(measure, 1) if self.kind == "buddy" else measure
        variable = self.variable
        return Reason(self.kind, variable.name, value, variable.unit, high=self.limit, measure=measure)

    def describe(self, value: float, where: str, locations: int) -> str:
        """Return a sentence on all rows without its full stop; `value` and `where` are those of the worst row."""
        unit = self.variable.unit and f" {self.variable.unit}"
        shown = f"{value:.10g}{unit} at {where}"
        counted = f"{len(self.rows):,} {'value' if len(self.rows) == 1 else 'values'} of {self.variable.name}"
        counted += f" at {locations:,} {'location' if locations == 1 else 'locations'}"
        worst = self.measure.max()
        match self.kind:
            case "persistence":
                longest = f"the longest has {worst:,.0f} values of {shown}"
                return f"{counted} in runs of more than {self.limit:.0f} equal values, {longest}"
            case "step":
                return f"{counted} changed by more than {self.limit:g} per step, the most by {worst:.6g} to {shown}"
            case "buddy":
                return f"{counted} disagree with their neighbours, the most {shown}: {worst:.1f} sigmas"


def find_faults(series: BatchWithHistory, feed: Feed, locations: Locations) -> list[Finding]:
    """Return the rows of a batch that fail the checks of series which the contract asks for."""
    contract, checks = series.batch.contract, feed.quality.checks
    day = max(1, math.ceil(_DAY / mean_length(feed.step)))
    neighbours: buddy.Neighbours | None = None
    if "buddy" in contract.series_checks:
        longitude, latitude = np.array(locations.longitude), np.array(locations.latitude)
        count = min(checks.buddy.neighbours, len(locations) - 1)
        neighbours = buddy.neighbours(longitude, latitude, count=count, within_km=checks.buddy.within_km)
    found: list[Finding] = []
    for variable in contract.variables:
        kinds = {kind for kind in contract.series_checks if _applies(feed, kind, variable.name)}
        if not kinds:
            continue
        values = series.series(variable.name)
        for kind, measure, limit in _measures(values, variable, feed, kinds, neighbours, day):
            # Only failures are kept: next to nothing, whatever the number of variables.
            failed = (measure > limit) & (series.row >= 0)
            if failed.any():
                rows = series.batch.points.row[series.row[failed]]
                found.append(Finding(kind, variable, rows, measure[failed], limit))
    return found


def _measures(
    series: Series,
    variable: VariableLimits,
    feed: Feed,
    kinds: set[SeriesKind],
    neighbours: buddy.Neighbours | None,
    day: int,
) -> Iterator[tuple[SeriesKind, Floats, float]]:
    checks = feed.quality.checks
    if "persistence" in kinds:
        after = checks.persistence.after
        longest = (
            max(2, math.ceil(after / mean_length(feed.step)))
            if after
            else persistence.longest_natural_run(series, day=day)
        )
        lengths = persistence.run_lengths(series, gap=longest).astype(np.float64)
        lengths[_natural(series, variable, checks.persistence.natural)] = 0.0
        yield "persistence", lengths, float(longest)
    if "step" in kinds:
        limit = checks.step.at_most[variable.name]
        yield "step", changes_per_step(series, limit), limit
    if neighbours is not None and "buddy" in kinds:
        scaled = Series(series.location, series.step, _on_scale(series.value, feed.variable(variable.name).transform))
        yield "buddy", buddy.departures(scaled, neighbours, floor=checks.buddy.floor), checks.buddy.sigmas


def _applies(feed: Feed, kind: SeriesKind, name: str) -> bool:
    checks = feed.quality.checks
    spec = {"persistence": checks.persistence, "step": checks.step, "buddy": checks.buddy}[kind]
    if kind == "step" and name not in checks.step.at_most:
        return False
    return spec.variables is None or name in spec.variables


def _natural(series: Series, variable: VariableLimits, given: tuple[float, ...] | None) -> Bools:
    """Return where a value may persist: at the values given, or at those that are natural for the variable."""
    if given is not None:
        return np.isin(series.value, np.array(given, np.float64))
    natural = [100.0] if variable.units == "%" else []
    if variable.low == 0 and persistence.share_of_runs(series, 0.0) >= persistence.COMMON:
        natural.append(0.0)
    return np.isin(series.value, np.array(natural, np.float64))


def _on_scale(values: Floats, transform: str) -> Floats:
    """Return values on the scale on which their spread is nearly constant."""
    if transform == "identity":
        return values
    with np.errstate(invalid="ignore"):
        return np.sqrt(values) if transform == "sqrt" else np.log1p(values)
