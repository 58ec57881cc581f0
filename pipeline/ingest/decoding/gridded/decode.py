"""A payload of arrays to rows: by time, then row by row of the grid; a cell without any value is no row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from expectations.reasons import Reason
from pipeline.config import Feed, FilesSource
from pipeline.errors import ContractError, NoDataError, SourceError
from pipeline.ingest.decoding.cells import as_json
from pipeline.ingest.decoding.compression import decompress
from pipeline.ingest.decoding.gridded.axes import LATITUDE, LONGITUDE
from pipeline.ingest.decoding.gridded.fields import Field, read_field
from pipeline.ingest.decoding.gridded.readers import open_arrays
from pipeline.ingest.decoding.resample import stand_ins
from pipeline.ingest.decoding.rows import number
from pipeline.ingest.decoding.timestamp_parsing import Times
from pipeline.ingest.decoding.timestamps import Stamps, read_stamps
from pipeline.ingest.sources.base import TIME, Decoded, Payload, RefusedRow, refused_table, row_schema
from pipeline.locations import Locations
from pipeline.units import convert

_BLOCK = 4_000_000  # cells that become rows at a time, so that what lies between values and rows stays small


def decode_arrays(payload: Payload, feed: Feed, spec: FilesSource, locations: Locations) -> Decoded:
    """Return the rows of a file of arrays.

    Raises:
        NoDataError: the payload has no bytes.
        SourceError: it is damaged or in another format.
        ContractError: it does not hold what the product says.
    """
    if not payload.content:
        raise NoDataError(f"{payload.name}: the payload is empty")
    content, grid = decompress(payload, spec.compression, spec.max_bytes), spec.grid
    wanted = [told.source_name or name for name, told in feed.variables.items()]
    latitude, longitude = (grid.latitude, *LATITUDE.aliases), (grid.longitude, *LONGITUDE.aliases)
    axes = [grid.time, *grid.select, *([grid.station] if grid.station else (*latitude, *longitude))]
    try:
        with open_arrays(content, spec, wanted, axes) as datasets:
            fields = {name: read_field(datasets, feed, spec, locations, name) for name in feed.variables}
        return _decoded(fields, feed, spec)
    except (SourceError, ContractError) as error:
        raise type(error)(f"{payload.name}: {_plain(str(error))}") from error


def _plain(text: str) -> str:
    """Return a text that quotes a file on one line, whatever the file has in it."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _decoded(fields: Mapping[str, Field], feed: Feed, spec: FilesSource) -> Decoded:
    (lead, first), *others = fields.items()
    for name, field in others:
        if not (field.times.equals(first.times) and field.places.matches(first.places)):
            raise ContractError(f"'{name}' is not at the times and places of '{lead}'; give it a feed of its own")
    known = _known(first, feed)
    stamps = _stamps(first, feed, spec)
    notes = [*(note for field in fields.values() for note in field.notes), *first.places.notes, *stamps.notes]

    frames, times, thinned = np.flatnonzero(~np.isnat(stamps.valid_time)), stamps.valid_time, 0
    if spec.time.resample:
        series = np.zeros(len(frames), np.int64) if known is None else number(known[frames])
        kept, points = stand_ins(times[frames], series, feed.step, spec.time.resample)
        left = np.setdiff1d(frames, frames[kept])
        thinned = int(sum(_present(fields, spec, slice(at, at + 1)).sum() for at in map(int, left)))
        frames, times = frames[kept], times.copy()
        times[frames] = points
    ids = pa.array(first.places.ids, pa.string())
    blocks = [_rows(fields, feed, spec, ids, times, known, part) for part in _parts(frames, len(first.places.codes))]
    rows = [table for table, _ in blocks] or [row_schema(feed, known=known is not None).empty_table()]
    refused = [*_untimed(fields, spec, stamps), *(row for _, bad in blocks for row in bad)]
    return Decoded(pa.concat_tables(rows), refused_table(refused), thinned, tuple(dict.fromkeys(map(_plain, notes))))


def _stamps(field: Field, feed: Feed, spec: FilesSource) -> Stamps:
    said: dict[str, object] = {"columns": (field.time_name,)}
    if pa.types.is_timestamp(field.times.type):
        said["format"] = ""  # that is of text
    elif not pa.types.is_string(field.times.type) and spec.time.format != "%s":
        remedy = "say what they count by an attribute units, e.g. hours since 1970-01-01"
        raise ContractError(f"{field.time_name} holds numbers without units; {remedy}")
    return read_stamps(pa.table({field.time_name: field.times}), spec.time.model_copy(update=said), feed.step)


def _known(field: Field, feed: Feed) -> Times | None:
    """Return when each frame of a covariate became known: the delay of its feed after it was forecast.

    Raises:
        ContractError: the file does not say when it was.
    """
    if not feed.is_covariate:
        return None
    if field.reference is None:
        raise ContractError("no coordinate of standard name forecast_reference_time tells when values became known")
    return np.asarray(field.reference.to_numpy() + np.timedelta64(feed.delay), "datetime64[us]")


def _parts(frames: NDArray[np.int64], places: int) -> Iterator[NDArray[np.int64]]:
    at_once = max(1, _BLOCK // max(1, places))
    for start in range(0, len(frames), at_once):
        yield frames[start : start + at_once]


def _rows(
    fields: Mapping[str, Field],
    feed: Feed,
    spec: FilesSource,
    ids: pa.Array,
    times: Times,
    known: Times | None,
    frames: NDArray[np.int64],
) -> tuple[pa.Table, list[RefusedRow]]:
    """Return the rows of some frames, and the cells that hold an infinity."""
    places = next(iter(fields.values())).places
    values = {name: _numbers(field, _span(frames), spec) for name, field in fields.items()}
    infinite = {name: np.isinf(numbers) for name, numbers in values.items()}
    bad = np.logical_or.reduce(list(infinite.values()))
    present = np.logical_or.reduce([~np.isnan(numbers) for numbers in values.values()])
    flat = np.flatnonzero(present & ~bad)
    frame, place = np.divmod(flat, len(places.codes))

    locations = ids.take(pa.array(places.codes[place]))
    instants = [] if known is None else [pa.array(known[frames][frame], TIME)]
    columns = []
    for name, numbers in values.items():
        units = fields[name].units
        stored = convert(numbers.ravel()[flat], units, feed.variable(name)[0])
        columns.append(pa.array(stored, pa.float64(), from_pandas=True))  # NaN is null
    schema = row_schema(feed, known=known is not None)
    rows = pa.table([pa.array(times[frames][frame], TIME), locations, *instants, *columns], schema=schema)
    refused: list[RefusedRow] = []
    for at, where in np.argwhere(bad):
        given = {name: float(numbers[at, where]) for name, numbers in values.items()}
        reasons = [Reason("invalid_number", name, str(given[name])) for name in given if infinite[name][at, where]]
        refused.append((times[frames[at]], places.ids[places.codes[where]], as_json(given), reasons))
    return rows, refused


def _untimed(fields: Mapping[str, Field], spec: FilesSource, stamps: Stamps) -> Iterator[RefusedRow]:
    """Return a refused row for each frame that has values and no time."""
    first = next(iter(fields.values()))
    for frame, reason in stamps.reasons.items():
        count = int(_present(fields, spec, slice(frame, frame + 1)).sum())
        if count:
            given = {first.time_name: first.times[frame].as_py(), "cells": count}
            yield None, None, as_json(given), [reason]


def _present(fields: Mapping[str, Field], spec: FilesSource, frames: slice) -> NDArray[np.bool_]:
    present = [~np.isnan(_numbers(field, frames, spec)) for field in fields.values()]
    return np.asarray(np.logical_or.reduce(present), np.bool_)


def _span(frames: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """Return frames as a slice where they follow each other, which copies nothing."""
    if len(frames) and frames[-1] - frames[0] + 1 == len(frames):
        return slice(int(frames[0]), int(frames[-1]) + 1)
    return frames


def _numbers(field: Field, frames: slice | NDArray[np.int64], spec: FilesSource) -> NDArray[np.float64]:
    """Return the values of some frames as numbers, NaN where they are one that means none."""
    values = field.values[frames]
    numbers = values.astype(np.float64)
    for text in spec.missing:
        try:
            sentinel = float(text)
        except ValueError:
            continue
        # In single precision -999.9 is another number than in double.
        near = float(values.dtype.type(sentinel)) if values.dtype.kind == "f" else sentinel
        numbers[numbers == near] = np.nan
    return numbers * field.factor if field.factor != 1 else numbers
