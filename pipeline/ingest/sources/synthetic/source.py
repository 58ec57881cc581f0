"""The `synthetic` source: simulated weather that is published gradually, like real observations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import SecretStr

from pipeline.config import Feed
from pipeline.config.sources.synthetic import SyntheticSource
from pipeline.errors import ConfigError, SourceError
from pipeline.ingest.decoding.parquet import from_parquet, to_parquet
from pipeline.ingest.sources.base import TIME, About, Decoded, Payload, refused_table, row_schema
from pipeline.ingest.sources.synthetic.faults import Bools
from pipeline.ingest.sources.synthetic.instruments import Instruments
from pipeline.ingest.sources.synthetic.waves import Floats, Times
from pipeline.locations import Locations
from pipeline.units import convert, convertible

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Synthetic:
    """Simulated weather, observed at the locations of a feed.

    A row is published `delay` after its valid_time, a late row `by` later, and the final values of a revised row `by`
    after the preliminary ones. A payload contains what was published in one chunk of time, up to the time of the fetch,
    in the order of publication. Once the chunk has passed, its bytes are the same at every fetch.

    Raises:
        ConfigError: a variable is not available, or a fault names a variable or location that the feed does not have.
    """

    def __init__(
        self, feed: Feed, spec: SyntheticSource, locations: Locations, secrets: Mapping[str, SecretStr]
    ) -> None:
        self._feed, self._spec, self._ids = feed, spec, np.array(locations.ids)
        self._instruments = Instruments(feed, spec, locations)
        for number, change in enumerate(spec.faults.unit_change):
            where, name = f"feed.source.faults.unit_change.{number}", change.variable
            if name not in feed.variables:
                raise ConfigError(feed.title, f"{where}.variable", f"'{name}' is not in feed.variables")
            if not convertible(self._instruments.delivered(name), change.units):
                raise ConfigError(feed.title, f"{where}.units", f"cannot convert '{name}' to {change.units}")
        for number, outage in enumerate(spec.faults.outage):
            if outage.location and outage.location not in locations.ids:
                where = f"feed.source.faults.outage.{number}.location"
                raise ConfigError(feed.title, where, f"'{outage.location}' is not in feed.locations")
        self._chunk = _seconds(spec.chunk)
        self._lag = _seconds(feed.delay) - _seconds(spec.ahead)
        self._known = spec.published or feed.is_covariate

    @property
    def about(self) -> About:
        """Properties of the source, as the feed declares them."""
        units = {name: self._instruments.delivered(name) for name in self._feed.variables}
        return About(supports_time_range=True, delay=self._feed.delay, units=units)

    def fetch(self, since: datetime | None, until: datetime | None, *, at: datetime) -> Iterator[Payload | SourceError]:
        """Yield what was published by `at` for the valid times in [since, until], one payload per chunk.

        Chunks are ranges of publication time, so a payload may contain other valid times too. Empty chunks are left
        out.
        """
        first = max(since, self._spec.start) if since else self._spec.start
        last = _seconds(at - EPOCH)
        faults = self._spec.faults
        wait = max([_seconds(one.by) for one in (faults.late, faults.revised) if one.share], default=0)
        for bound in (until, self._spec.end):
            if bound is not None:
                last = min(last, _seconds(bound - EPOCH) + self._lag + wait)
        edge = (_seconds(first - EPOCH) + self._lag - 1) // self._chunk * self._chunk
        while edge < last:
            passed = min(edge + self._chunk, _seconds(at - EPOCH))
            table = self._published(edge, passed)
            if table.num_rows:
                yield Payload.of(f"synthetic {_shown(edge)} to {_shown(passed)}", to_parquet(table))
            edge += self._chunk

    def decode(self, payload: Payload) -> Decoded:
        """Return the rows of a payload.

        Raises:
            SourceError: the payload was not made by this source.
            NoDataError: the payload is empty.
        """
        table = from_parquet(payload)
        schema = row_schema(self._feed, known=self._known)
        columns = []
        for field in schema:
            if field.name not in table.column_names:
                raise SourceError(f"{payload.name}: no column '{field.name}'; the payload was made for another feed")
            column = table.column(field.name)
            if field.name in self._feed.variables:
                values = np.array(pc.fill_null(column, np.nan).to_numpy(), np.float64)
                delivered, kept = self._instruments.delivered(field.name), self._feed.variable(field.name).units
                column = pa.array(convert(values, delivered, kept), field.type, from_pandas=True)
            columns.append(column)
        return Decoded(pa.table(columns, schema=schema), refused_table([]))

    def injected(self, since: datetime, until: datetime) -> dict[str, int]:
        """Return the number of rows and values with valid times in [since, until] by fault.

        Rows: published `rows`; rows lost in an `outage` or a `gap`; of the published rows, those `late`, `revised` and
        `duplicated`. Values of rows that are not lost, counted per variable: `missing`, and of the others, `stuck`,
        `spikes` and those affected by a `unit_change`.
        """
        names = ("rows", "outage", "gap", "late", "revised", "duplicated", "missing", "stuck", "spikes", "unit_change")
        counts = dict.fromkeys(names, 0)
        model = self._instruments.faults
        changes = self._spec.faults.unit_change
        edges = np.arange(_seconds(since - EPOCH) - 1, _seconds(until - EPOCH), self._chunk)
        for edge in map(int, edges):
            times = self._times(edge, min(edge + self._chunk, _seconds(until - EPOCH)))
            row_faults = model.row_faults(times)
            missing = {name: model.missing(times, name) for name in self._feed.variables}
            comes = ~row_faults.lost & ~np.logical_and.reduce(list(missing.values()))
            counts["rows"] += int(comes.sum())
            for name in ("outage", "gap"):
                counts[name] += int(getattr(row_faults, name).sum())
            for name in ("late", "revised", "duplicated"):
                counts[name] += int((getattr(row_faults, name) & comes).sum())
            for name, gone in missing.items():
                there = ~row_faults.lost & ~gone
                stuck = model.stuck(times, name)
                counts["missing"] += int((~row_faults.lost & gone).sum())
                counts["stuck"] += int((there & stuck).sum())
                counts["spikes"] += int((there & ~stuck & model.spikes(times, name)).sum())
                changed = np.zeros(len(times), np.bool_)
                for change in changes:
                    if change.variable == name:
                        end = change.until or until
                        changed |= (times >= change.at.timestamp()) & (times <= end.timestamp())
                counts["unit_change"] += int((there & changed[:, np.newaxis]).sum())
        return counts

    def _published(self, after: int, by: int) -> pa.Table:
        """Return what was published in (after, by], in the order of publication."""
        faults, model = self._spec.faults, self._instruments.faults
        times = self._times(after - self._lag, by - self._lag)
        row_faults = model.row_faults(times)
        once = ~row_faults.lost & ~row_faults.late & ~row_faults.revised
        parts = [self._rows(times, once.astype(np.int64) + row_faults.duplicated, 0)]
        if row_faults.revised.any():
            parts.append(self._rows(times, row_faults.revised.astype(np.int64), 0, preliminary=True))
        for wait, kind in ((_seconds(faults.late.by), "late"), (_seconds(faults.revised.by), "revised")):
            if getattr(faults, kind).share:
                times = self._times(after - self._lag - wait, by - self._lag - wait)
                again: Bools = getattr(model.row_faults(times), kind)
                parts.append(self._rows(times, again.astype(np.int64), wait))
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        if len(parts) > 1:
            order = np.lexsort((joined["location"], joined["valid_time"], joined["known_at"]))
            joined = {name: column[order] for name, column in joined.items()}
        columns = []
        for field in (schema := row_schema(self._feed, known=True)):
            column = joined[field.name]
            if field.type == TIME:
                columns.append(pa.array((column * 1_000_000).view("datetime64[us]"), TIME))
            elif field.name == "location":
                columns.append(pa.array(self._ids, pa.string()).take(pa.array(column)))
            else:
                columns.append(pa.array(column, field.type, from_pandas=True))
        return pa.table(columns, schema=schema)

    def _rows(
        self, times: Times, counts: NDArray[np.int64], wait: int, *, preliminary: bool = False
    ) -> dict[str, NDArray[Any]]:
        """Return columns with as many rows per (time, station) as `counts` has, without rows that have no value."""
        readings = self._instruments.readings(times, preliminary=preliminary) if counts.any() else {}
        empty = np.logical_and.reduce([np.isnan(values) for values in readings.values()]) if readings else True
        flat = np.where(empty, 0, counts).ravel()
        chosen = np.repeat(np.arange(flat.size), flat)
        row, place = np.divmod(chosen, len(self._ids))
        columns: dict[str, NDArray[Any]] = {"valid_time": times[row], "location": place}
        columns["known_at"] = columns["valid_time"] + (self._lag + wait)
        nothing: Floats = np.zeros(counts.shape)
        return columns | {name: readings.get(name, nothing).ravel()[chosen] for name in self._feed.variables}

    def _times(self, after: int, by: int) -> Times:
        """Return the valid times in (after, by] within the simulated period, seconds since 1970."""
        after = max(after, _seconds(self._spec.start - EPOCH) - 1)
        if self._spec.end is not None:
            by = min(by, _seconds(self._spec.end - EPOCH))
        step = self._feed.step
        if isinstance(step, timedelta):
            width = _seconds(step)
            return np.arange(after // width + 1, by // width + 1, dtype=np.int64) * width
        first, last = step.numbers(np.array([after, by], "datetime64[s]"))
        return step.starts(np.arange(first + 1, last + 1)).astype("datetime64[s]").astype(np.int64)


def _seconds(span: timedelta) -> int:
    return math.floor(span.total_seconds())


def _shown(seconds: int) -> str:
    return f"{EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%MZ}"
