"""Checks of series applied to a batch beside what is stored: stuck sensors, jumps, and neighbours."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from expectations import buddy, jump, stuck
from expectations.observations import RowKind, VariableLimits
from expectations.series import Bools, Floats, Ints, Series
from pipeline.config import Feed
from pipeline.ingest.quality.batch import BatchWithHistory
from pipeline.locations import Locations

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Finding:
    """Rows in which a variable broke a check of series."""

    kind: RowKind
    variable: VariableLimits
    rows: Ints
    """Rows of the batch."""
    measure: Floats
    """What was found in each: values of the run, change per step, robust standard deviations."""
    limit: float

    def reason(self, place: int, value: float) -> str:
        """Return why the row at a place of `rows` is refused."""
        told = f"{self.variable.name} {value:.10g}{self.variable.unit} "
        found = self.measure[place]
        match self.kind:
            case "stuck":
                return told + f"is the same for {found:.0f} values, more than {self.limit:.0f}"
            case "jump":
                return told + f"is a change by {found:.6g} a step, more than {self.limit:g}"
            case _:
                return told + f"is {found:.1f} sigmas from what its neighbours let expect, more than {self.limit:g}"

    def sentence(self, value: float, where: str, places: int) -> str:
        """Return what was found, as a sentence without its end; value and place are those of the worst row."""
        shown = f"{value:.10g}{self.variable.unit} at {where}"
        counted = f"{len(self.rows):,} {'value' if len(self.rows) == 1 else 'values'} of {self.variable.name}"
        counted += f" at {places:,} {'location' if places == 1 else 'locations'}"
        worst = self.measure.max()
        match self.kind:
            case "stuck":
                return (
                    f"{counted} in runs of more than {self.limit:.0f} equal ones, the longest {worst:,.0f} of {shown}"
                )
            case "jump":
                return f"{counted} changed by more than {self.limit:g} a step, most by {worst:.6g} to {shown}"
            case _:
                return f"{counted} not borne out by the neighbours, farthest {shown}: {worst:.1f} sigmas"


def find(beside: BatchWithHistory, feed: Feed, locations: Locations) -> list[Finding]:
    """Return what the checks of series found in the rows of the batch; nothing for those that are off."""
    contract, checks = beside.batch.contract, feed.quality.checks
    day = max(1, math.ceil(_DAY / feed.step))
    near: buddy.Neighbours | None = None
    if "buddy" in contract.measured:
        east, north = np.array(locations.longitude), np.array(locations.latitude)
        count = min(checks.buddy.neighbours, len(locations) - 1)
        near = buddy.neighbours(east, north, count=count, within_km=checks.buddy.within_km)
    found: list[Finding] = []
    for variable in contract.variables:
        wanted = {kind for kind in contract.measured if _looks_at(feed, kind, variable.name)}
        if not wanted:
            continue
        series = beside.series(variable.name)
        for kind, measure, limit in _measures(series, variable, feed, wanted, near, day):
            # Only what breaks the check is kept: next to nothing, whatever the number of variables.
            broken = (measure > limit) & (beside.row >= 0)
            if broken.any():
                rows = beside.batch.points.row[beside.row[broken]]
                found.append(Finding(kind, variable, rows, measure[broken], limit))
    return found


def _measures(
    series: Series,
    variable: VariableLimits,
    feed: Feed,
    wanted: set[RowKind],
    near: buddy.Neighbours | None,
    day: int,
) -> Iterator[tuple[RowKind, Floats, float]]:
    checks = feed.quality.checks
    if "stuck" in wanted:
        after = checks.persistence.after
        longest = max(2, math.ceil(after / feed.step)) if after else stuck.longest_natural_run(series, day=day)
        lengths = stuck.run_lengths(series, gap=longest).astype(np.float64)
        lengths[_natural(series, variable, checks.persistence.natural)] = 0.0
        yield "stuck", lengths, float(longest)
    if "jump" in wanted:
        limit = checks.step.at_most[variable.name]
        yield "jump", jump.jumps(series, limit), limit
    if near is not None and "buddy" in wanted:
        scaled = Series(series.location, series.step, _on_scale(series.value, feed.variable(variable.name)[2]))
        yield "buddy", buddy.departures(scaled, near, floor=checks.buddy.floor), checks.buddy.sigmas


def _looks_at(feed: Feed, kind: RowKind, name: str) -> bool:
    checks = feed.quality.checks
    check = {"stuck": checks.persistence, "jump": checks.step, "buddy": checks.buddy}[kind]
    if kind == "jump" and name not in checks.step.at_most:
        return False
    return check.variables is None or name in check.variables


def _natural(series: Series, variable: VariableLimits, said: tuple[float, ...] | None) -> Bools:
    """Where a value may stay for long."""
    if said is not None:
        return np.isin(series.value, np.array(said, np.float64))
    natural = [100.0] if variable.units == "%" else []
    if variable.low == 0 and stuck.share_of_runs(series, 0.0) >= stuck.COMMON:
        natural.append(0.0)
    return np.isin(series.value, np.array(natural, np.float64))


def _on_scale(values: Floats, transform: str) -> Floats:
    """Values on the scale on which their spread is nearly even."""
    if transform == "identity":
        return values
    with np.errstate(invalid="ignore"):
        return np.sqrt(values) if transform == "sqrt" else np.log1p(values)
