"""A batch prepared for checks: distinct rows as a frame, coded locations, and series joined with the stored ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from expectations.observations import EARLY, KNOWN, LOCATION, OFF_GRID, TIME, ObservationContract, off_grid
from expectations.series import Bools, Floats, Ints, Series, by_location, in_order
from pipeline.config import Feed
from pipeline.ingest.decoding.cells import encode
from pipeline.locations import Locations
from pipeline.steps import mean_length
from pipeline.times import as_numpy

_US = timedelta(microseconds=1)
_MOST_ROWS, _FEWEST_STEPS = 1_000_000, 8


@dataclass(frozen=True)
class Points:
    """Rows on the time grid: the index of their location, the step, and the row of the table."""

    location: Ints
    step: Ints
    row: Ints


@dataclass(frozen=True)
class Batch:
    """The distinct rows of a payload."""

    rows: pa.Table
    frame: pd.DataFrame
    """The rows and the derived columns that checks of rows read; the location is categorical."""
    contract: ObservationContract
    collapsed: int
    """Number of rows left out because an equal row comes later."""
    location: Ints
    """Index of the location of each row; an unknown location has an index after the last one of the feed."""
    time: Ints
    """Microseconds since the epoch; meaningless where the row has no time."""
    timed: Bools
    """Whether each row has a time."""

    @classmethod
    def of(cls, rows: pa.Table, contract: ObservationContract) -> Batch:
        """Return the batch of some rows of `row_schema`; the last of equal rows is kept."""
        location, time, timed = _codes(rows, contract)
        extra = ~_distinct(rows, location, time)
        if extra.any():
            rows = rows.filter(pa.array(~extra))
            location, time, timed = location[~extra], time[~extra], timed[~extra]
        coded = rows.set_column(1, LOCATION, pc.dictionary_encode(rows[LOCATION]).unify_dictionaries())
        frame = coded.to_pandas()
        times = time.astype("datetime64[us]")
        frame[OFF_GRID] = np.where(timed, off_grid(times, contract.step, contract.phase), 0)
        if contract.known and not contract.forecasts:
            known, known_timed = _instants(rows[KNOWN])
            frame[EARLY] = np.where(timed & known_timed, np.maximum(time - known, 0), 0).astype(np.float64)
        return cls(rows, frame, contract, int(extra.sum()), location, time, timed)

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    @cached_property
    def points(self) -> Points:
        """The latest revision of each key on the grid, by location, then time."""
        return _points(self.rows, self.location, self.time, self.timed, self.contract)

    @cached_property
    def by_time(self) -> Ints:
        """The order of the rows by time, then location, then the time they became known."""
        order = np.arange(len(self))
        if self.contract.known:
            order = order[np.argsort(_instants(self.rows[KNOWN])[0], kind="stable")]
        order = order[by_location(self._rank[order])]
        return order[np.argsort(self.time[order], kind="stable")]

    @cached_property
    def _rank(self) -> Ints:
        """The rank of each location's id in sorted order."""
        ids = np.array(self.contract.stations, object)
        rank = np.empty(len(ids) + 1, np.int64)
        rank[:-1][np.argsort(ids)] = np.arange(len(ids))
        rank[-1] = len(ids)
        return rank[np.minimum(self.location, len(ids))]


class BatchWithHistory:
    """The series of a batch joined with the stored rows of the weeks before it and of its own time."""

    def __init__(self, batch: Batch, recent: pa.Table | None) -> None:
        self.batch = batch
        contract, points = batch.contract, batch.points
        self.stored: pa.Table | None = None
        self._old = Points(points.location[:0], points.step[:0], points.row[:0])
        if recent is not None and recent.num_rows:
            self.stored = recent
            self._old = _points(recent, *_codes(recent, contract), contract)
        location = np.concatenate([self._old.location, points.location])
        step = np.concatenate([self._old.step, points.step])
        order = np.arange(len(location))
        if len(self._old.row):
            order = in_order(location, step)  # of equal keys, the stored one first
            order, location, step = _last_of_key(order, location[order], step[order])
        self._order, self.location, self.step = order, location, step
        self.row: Ints = np.where(order >= len(self._old.row), order - len(self._old.row), -1)
        """For each value of the series, its index among the points of the batch; -1 for a stored value."""
        self._bounds = {variable.name: variable.bounds() for variable in contract.variables}
        self._cache: Mapping[str, Floats] = {}

    def series(self, name: str) -> Series:
        """Return the values of a variable, new and stored; NaN where they break their limits."""
        values = np.concatenate([self._values(self.stored, name, self._old), self._values_of_batch(name)])
        return Series(self.location, self.step, values[self._order])

    def new(self, name: str) -> Series:
        """Return the values of a variable in the batch."""
        points = self.batch.points
        return Series(points.location, points.step, self._values_of_batch(name))

    def old(self, name: str) -> Series:
        """Return the stored values of a variable."""
        return Series(self._old.location, self._old.step, self._values(self.stored, name, self._old))

    def _values_of_batch(self, name: str) -> Floats:
        return self._values(self.batch.rows, name, self.batch.points)

    def _values(self, rows: pa.Table | None, name: str, points: Points) -> Floats:
        if rows is None or name not in rows.column_names:
            return np.full(len(points.row), np.nan)
        values = np.asarray(rows[name].to_numpy(), np.float64)[points.row]
        low, high = self._bounds[name]
        return np.where((values >= low) & (values <= high), values, np.nan)


def _codes(rows: pa.Table, contract: ObservationContract) -> tuple[Ints, Ints, Bools]:
    """Return the index of the location, the microseconds, and whether there is a time, of each row."""
    codes, distinct = encode(rows[LOCATION])
    found = pc.index_in(distinct, value_set=pa.array(contract.stations, pa.string()))
    unknown = len(contract.stations) + np.arange(len(distinct))
    index = np.where(pc.is_valid(found), pc.fill_null(found, 0), unknown).astype(np.int64)
    location = np.append(index, len(contract.stations) + len(distinct))[codes]  # null is the last
    time, timed = _instants(rows[TIME])
    return location, time, timed


def _instants(column: pa.ChunkedArray) -> tuple[Ints, Bools]:
    """Return microseconds since the epoch, the smallest number for null, and where there is an instant."""
    time = column.to_numpy().astype("datetime64[us]")
    return time.astype(np.int64), ~np.isnat(time)


def _distinct(rows: pa.Table, location: Ints, time: Ints) -> Bools:
    """Return whether no later row is equal; only rows that share a key are compared as a whole."""
    keep = np.ones(rows.num_rows, np.bool_)
    order = in_order(location, time)
    twin = (np.diff(location[order]) == 0) & (np.diff(time[order]) == 0)
    if twin.any():
        shared = np.zeros(len(order), np.bool_)
        shared[order[:-1][twin]] = shared[order[1:][twin]] = True
        candidates = np.flatnonzero(shared)
        keep[candidates] = ~rows.take(pa.array(candidates)).to_pandas().duplicated(keep="last").to_numpy()
    return keep


def _points(rows: pa.Table, location: Ints, time: Ints, timed: Bools, contract: ObservationContract) -> Points:
    oldest, latest = (as_numpy(instant).astype(np.int64) for instant in (contract.oldest, contract.latest))
    placed = timed & (location < len(contract.stations)) & (time >= oldest) & (time <= latest)
    if isinstance(contract.step, timedelta):
        past, width = time - round(contract.phase / _US), round(contract.step / _US)
        placed &= past % width == 0
        steps = past // width
    else:
        steps = np.zeros(len(time), np.int64)
        times = time[placed].astype("datetime64[us]")
        steps[placed] = contract.step.numbers(times)
        placed[placed] = contract.step.starts(steps[placed]) == times
    chosen = np.flatnonzero(placed)
    if KNOWN in rows.column_names:
        chosen = chosen[np.argsort(_instants(rows[KNOWN])[0][chosen], kind="stable")]
    chosen = chosen[in_order(location[chosen], steps[chosen])]
    row, where, at = _last_of_key(chosen, location[chosen], steps[chosen])
    return Points(where, at, row)


def _last_of_key(order: Ints, location: Ints, step: Ints) -> tuple[Ints, Ints, Ints]:
    last = np.ones(len(order), np.bool_)
    last[:-1] = (location[1:] != location[:-1]) | (step[1:] != step[:-1])
    return order[last], location[last], step[last]


def recent_window(rows: pa.Table, feed: Feed, locations: Locations) -> tuple[datetime, datetime] | None:
    """Return the span of valid times, both ends included, of the stored rows to compare a batch with.

    It covers the reference period of the feed before the batch and the time of the batch; of a long batch only the
    last part, so that it never exceeds twice the reference period. With very many locations, as in a grid, it is
    shortened to about a million rows; with a calendar step it has at least eight steps. None when no row has a time, or
    without a reference period.
    """
    bounds = pc.min_max(rows[TIME])
    first, last = bounds["min"].as_py(), bounds["max"].as_py()
    most = max(_MOST_ROWS // len(locations), _FEWEST_STEPS) * mean_length(feed.step)
    memory = min(feed.quality.reference_period, most)
    if memory and not isinstance(feed.step, timedelta):  # a period of some weeks has hardly a month
        memory = max(memory, _FEWEST_STEPS * feed.step.longest)
    if first is None or not memory:
        return None
    try:
        return max(first, last - memory) - memory, last
    except OverflowError:  # the year 1
        return first, last
