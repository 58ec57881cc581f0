"""Decoding of Open-Meteo responses: an object for one location, a list of objects for several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import cos, hypot, radians
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from expectations.reasons import Reason
from pipeline.config import Feed
from pipeline.config.sources.open_meteo import OpenMeteoSource
from pipeline.errors import ContractError, SourceError
from pipeline.ingest.decoding.cells import as_json, read_numbers
from pipeline.ingest.sources.base import TIME, Decoded, Payload, RefusedRow, refused_table, row_schema
from pipeline.ingest.sources.http import as_column, read_document
from pipeline.ingest.sources.open_meteo.names import UNITS, Column
from pipeline.locations import Locations
from pipeline.times import as_numpy
from pipeline.units import convert

_MAX_DISTANCE = 2.0  # degrees from a location to the centre of its cell in the coarsest model
_DAY = timedelta(days=1)

Times = NDArray[np.datetime64]


def decode_response(
    payload: Payload,
    feed: Feed,
    spec: OpenMeteoSource,
    locations: Locations,
    columns: Sequence[Column],
    block: str,
) -> Decoded:
    """Return the rows of a response, location by location; see `OpenMeteo.decode`."""
    document = read_document(payload)
    try:
        requested: list[str] = orjson.loads(payload.context["locations"])
        at = as_numpy(datetime.fromisoformat(payload.context["at"]))
    except (KeyError, ValueError) as error:
        raise SourceError(f"{payload.name}: its context lacks the requested locations or the time") from error
    response = _Response(payload.name, feed, spec, columns, block, at)
    positions = {name: position for position, name in enumerate(locations.ids)}
    points = _points(payload.name, document, len(requested))
    for number, point in points.items():
        location = requested[number]
        if location in positions:
            _check_position(payload.name, point, location, locations, positions[location])
        response.read(point, location)
    if len(points) < len(requested):
        missing = [name for number, name in enumerate(requested) if number not in points]
        count = f"{len(missing)} of {len(requested)}"
        response.notes.append(f"{count} locations are missing in the response: {', '.join(missing[:5])}")
    return response.decoded()


def _points(name: str, document: Any, count: int) -> dict[int, Mapping[str, Any]]:
    """Return the objects of a response by the position of their location in the request."""
    objects = document if isinstance(document, list) else [document]
    if not all(isinstance(one, dict) for one in objects):
        raise SourceError(f"{name}: not an Open-Meteo response, it does not consist of objects")
    fault = next((one for one in objects if one.get("error")), None)
    if fault is not None:
        raise SourceError(f"{name}: {str(fault.get('reason', 'error without a reason'))[:200]}")
    numbered = any("location_id" in one for one in objects)  # the first location has no number, which means 0
    positions = [one.get("location_id", 0) if numbered else n for n, one in enumerate(objects)]
    valid = all(type(n) is int and 0 <= n < count for n in positions) and len(set(positions)) == len(positions)
    if not valid or (not numbered and len(objects) != count):
        raise SourceError(
            f"{name}: {len(objects)} locations in the response for {count} requested, and it is unclear which"
        )
    return dict(zip(positions, objects, strict=True))


def _check_position(name: str, point: Mapping[str, Any], location: str, locations: Locations, n: int) -> None:
    """Refuse a response for another position, in case the order of locations changed."""
    here = point.get("latitude"), point.get("longitude")
    there = locations.latitude[n], locations.longitude[n]
    if not all(isinstance(angle, int | float) for angle in here):
        raise SourceError(f"{name}: the response for {location} lacks its latitude and longitude")
    east = (here[1] - there[1] + 180) % 360 - 180  # type: ignore[operator]
    if hypot(here[0] - there[0], east * cos(radians(there[0]))) > _MAX_DISTANCE:  # type: ignore[operator]
        raise SourceError(f"{name}: the response for {location} is for {here[0]} N {here[1]} E, which is too far away")


@dataclass
class _Response:
    """The rows, refused rows and notes of a response, collected location by location."""

    name: str
    feed: Feed
    spec: OpenMeteoSource
    columns: Sequence[Column]
    block: str
    at: np.datetime64
    notes: list[str] = field(default_factory=list)
    _rows: list[pa.Table] = field(default_factory=list)
    _refused: list[RefusedRow] = field(default_factory=list)

    def read(self, point: Mapping[str, Any], location: str) -> None:
        """Add the rows of a location."""
        data, units = point.get(self.block), point.get(f"{self.block}_units")
        if not isinstance(data, dict) or not isinstance(units, dict):
            raise ContractError(f"{self.name}: no '{self.block}' with units; the response has {', '.join(point)[:200]}")
        times = self._times(data.get("time"))
        if self.spec.endpoint == "previous-runs":
            for days in self.spec.previous_days:
                self._run(data, units, times, location, f"_previous_day{days}", days)
        else:
            self._run(data, units, times, location, "", 0)

    def decoded(self) -> Decoded:
        """Return everything that was read."""
        empty = row_schema(self.feed).empty_table()
        return Decoded(pa.concat_tables([empty, *self._rows]), refused_table(self._refused), notes=tuple(self.notes))

    def _run(
        self, data: Mapping[str, Any], units: Mapping[str, Any], times: Times, location: str, suffix: str, days: int
    ) -> None:
        """Add the rows of a location that were forecast `days` before."""
        values: dict[str, NDArray[np.float64]] = {}
        wrong: dict[int, list[Reason]] = {}
        for column in self.columns:
            given = {name: self._numbers(data, f"{name}{suffix}", len(times), wrong) for name in column.requested}
            values[column.variable] = self._stored(column, column.values(given), units, suffix)
        known = self._known(times, days)
        present = np.any([~np.isnan(column) for column in values.values()], axis=0)
        # Observations are not from the future; values that are not known yet come with the next fetch.
        keep = present & ((known if self.feed.is_covariate else times) <= self.at)
        keep[list(wrong)] = False
        rows = np.flatnonzero(keep)
        columns = [pa.array(times[rows], TIME), pa.array([location] * len(rows), pa.string())]
        if self.feed.is_covariate:
            columns.append(pa.array(known[rows], TIME))
        columns += [pa.array(column[rows], pa.float64(), from_pandas=True) for column in values.values()]
        self._rows.append(pa.table(columns, schema=row_schema(self.feed)))
        for row, reasons in sorted(wrong.items()):
            names = ("time", *(f"{name}{suffix}" for column in self.columns for name in column.requested))
            cells = {name: data[name][row] for name in names}
            self._refused.append((times[row], location, as_json(cells), reasons))

    def _times(self, given: Any) -> Times:
        if not isinstance(given, list) or not all(type(time) is int and abs(time) < 2**33 for time in given):
            raise SourceError(f"{self.name}: the times of '{self.block}' are not seconds since 1970")
        return np.array(given, np.int64).astype("datetime64[s]").astype("datetime64[us]")

    def _numbers(
        self, data: Mapping[str, Any], name: str, count: int, wrong: dict[int, list[Reason]]
    ) -> NDArray[np.float64]:
        """Return the values of a name, NaN where missing; cells that are not numbers are added to `wrong`."""
        cells = data.get(name)
        if not isinstance(cells, list):
            raise ContractError(f"{self.name}: no variable '{name}'; the response has {', '.join(data)[:200]}")
        if len(cells) != count:
            raise SourceError(f"{self.name}: '{name}' has {len(cells)} values for {count} times")
        values, unreadable = read_numbers(name, pa.chunked_array([as_column(cells)]), ())
        for row in map(int, np.flatnonzero(unreadable)):
            wrong.setdefault(row, []).append(Reason("invalid_number", name, str(cells[row])[:80]))
        return values

    def _stored(
        self, column: Column, values: NDArray[np.float64], units: Mapping[str, Any], suffix: str
    ) -> NDArray[np.float64]:
        """Return values in the unit of the store, converted from the unit in the response."""
        if np.isnan(values).all():  # Open-Meteo states no unit for a variable that it does not have at this location
            return values
        name = f"{column.requested[0]}{suffix}"
        given, kept = str(units.get(name))[:40], self.feed.variable(column.variable).units
        try:
            stored = convert(values, UNITS[given], kept)
        except (KeyError, ValueError):
            raise ContractError(f"{self.name}: cannot convert '{name}' from {given} to {kept}") from None
        note = f"{name} is in {given} instead of {column.units}; it was converted"
        if column.units not in ("", given) and note not in self.notes:
            self.notes.append(note)
        return stored

    def _known(self, times: Times, days: int) -> Times:
        """Return the time at which each value became known."""
        if self.spec.endpoint == "forecast":
            return np.full(len(times), self.at)
        published = self.spec.until_published
        if self.spec.endpoint != "previous-runs":
            published = max(published, self.feed.delay)
        return times + np.timedelta64(published - days * _DAY)
