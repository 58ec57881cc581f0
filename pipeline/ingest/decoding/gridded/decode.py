"""The rows of a gridded file, by time, then row by row of the grid; a cell without any value gives no row."""

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
from pipeline.ingest.decoding.resample import select_rows
from pipeline.ingest.decoding.rows import group_numbers
from pipeline.ingest.decoding.timestamp_parsing import Times
from pipeline.ingest.decoding.timestamps import ValidTimes, read_valid_times
from pipeline.ingest.sources.base import TIME, Decoded, Payload, RefusedRow, refused_table, row_schema
from pipeline.locations import Locations
from pipeline.units import convert

_BLOCK = 4_000_000  # cells made into rows at a time, which bounds the memory of intermediate results


def decode_arrays(payload: Payload, feed: Feed, spec: FilesSource, locations: Locations) -> Decoded:
    """Return the rows of a gridded file.

    Raises:
        NoDataError: the payload is empty.
        SourceError: it is damaged or in another format.
        ContractError: its contents are not those of the product.
    """
    if not payload.content:
        raise NoDataError(f"{payload.name}: the payload is empty")
    content, grid = decompress(payload, spec.compression, spec.max_bytes), spec.grid
    wanted = [variable.source_name or name for name, variable in feed.variables.items()]
    latitude, longitude = (grid.latitude, *LATITUDE.aliases), (grid.longitude, *LONGITUDE.aliases)
    axes = [grid.time, *grid.select, *([grid.station] if grid.station else (*latitude, *longitude))]
    try:
        with open_arrays(content, spec, wanted, axes) as datasets:
            fields = {name: read_field(datasets, feed, spec, locations, name) for name in feed.variables}
        return _decoded(fields, feed, spec)
    except (SourceError, ContractError) as error:
        raise type(error)(f"{payload.name}: {_plain(str(error))}") from error


def _plain(text: str) -> str:
    """Return a text that quotes a file with every unprintable character replaced."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _decoded(fields: Mapping[str, Field], feed: Feed, spec: FilesSource) -> Decoded:
    (lead, first), *others = fields.items()
    for name, field in others:
        if not (field.times.equals(first.times) and field.locations.matches(first.locations)):
            raise ContractError(f"'{name}' is not at the times and locations of '{lead}'; give it a feed of its own")
    known = _known(first, feed)
    stamps = _valid_times(first, feed, spec)
    notes = [*(note for field in fields.values() for note in field.notes), *first.locations.notes, *stamps.notes]

    frames, times, downsampled = np.flatnonzero(~np.isnat(stamps.valid_time)), stamps.valid_time, 0
    if spec.time.resample:
        series = np.zeros(len(frames), np.int64) if known is None else group_numbers(known[frames])
        kept, points = select_rows(times[frames], series, feed.step, spec.time.resample)
        left = np.setdiff1d(frames, frames[kept])
        downsampled = int(sum(_present(fields, spec, slice(at, at + 1)).sum() for at in map(int, left)))
        frames, times = frames[kept], times.copy()
        times[frames] = points
    ids = pa.array(first.locations.ids, pa.string())
    blocks = [_rows(fields, feed, spec, ids, times, known, part) for part in _parts(frames, len(first.locations.codes))]
    rows = [table for table, _ in blocks] or [row_schema(feed, known=known is not None).empty_table()]
    refused = [*_untimed(fields, spec, stamps), *(row for _, bad in blocks for row in bad)]
    return Decoded(
        pa.concat_tables(rows), refused_table(refused), downsampled, tuple(dict.fromkeys(map(_plain, notes)))
    )


def _valid_times(field: Field, feed: Feed, spec: FilesSource) -> ValidTimes:
    update: dict[str, object] = {"columns": (field.time_name,)}
    if pa.types.is_timestamp(field.times.type):
        update["format"] = ""  # which is for text
    elif not pa.types.is_string(field.times.type) and spec.time.format != "%s":
        remedy = "add an attribute units, e.g. hours since 1970-01-01"
        raise ContractError(f"{field.time_name} holds numbers without units; {remedy}")
    return read_valid_times(pa.table({field.time_name: field.times}), spec.time.model_copy(update=update), feed.step)


def _known(field: Field, feed: Feed) -> Times | None:
    """Return when each frame of a covariate became known: its reference time plus the delay of the feed.

    Raises:
        ContractError: the file has no reference time.
    """
    if not feed.is_covariate:
        return None
    if field.reference is None:
        raise ContractError(
            "no coordinate of standard name forecast_reference_time, which says when values became known"
        )
    return np.asarray(field.reference.to_numpy() + np.timedelta64(feed.delay), "datetime64[us]")


def _parts(frames: NDArray[np.int64], locations: int) -> Iterator[NDArray[np.int64]]:
    at_once = max(1, _BLOCK // max(1, locations))
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
    """Return the rows of some frames, and the refused cells, which are infinite."""
    file_locations = next(iter(fields.values())).locations
    values = {name: _numbers(field, _span(frames), spec) for name, field in fields.items()}
    infinite = {name: np.isinf(numbers) for name, numbers in values.items()}
    bad = np.logical_or.reduce(list(infinite.values()))
    present = np.logical_or.reduce([~np.isnan(numbers) for numbers in values.values()])
    flat = np.flatnonzero(present & ~bad)
    frame, location = np.divmod(flat, len(file_locations.codes))

    locations = ids.take(pa.array(file_locations.codes[location]))
    instants = [] if known is None else [pa.array(known[frames][frame], TIME)]
    columns = []
    for name, numbers in values.items():
        units = fields[name].units
        stored = convert(numbers.ravel()[flat], units, feed.variable(name).units)
        columns.append(pa.array(stored, pa.float64(), from_pandas=True))  # NaN is null
    schema = row_schema(feed, known=known is not None)
    rows = pa.table([pa.array(times[frames][frame], TIME), locations, *instants, *columns], schema=schema)
    refused: list[RefusedRow] = []
    for at, where in np.argwhere(bad):
        given = {name: float(numbers[at, where]) for name, numbers in values.items()}
        reasons = [Reason("invalid_number", name, str(given[name])) for name in given if infinite[name][at, where]]
        refused.append((times[frames[at]], file_locations.ids[file_locations.codes[where]], as_json(given), reasons))
    return rows, refused


def _untimed(fields: Mapping[str, Field], spec: FilesSource, stamps: ValidTimes) -> Iterator[RefusedRow]:
    """Return a refused row for each frame that has values but no valid time."""
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
    """Return consecutive frames as a slice, which copies nothing."""
    if len(frames) and frames[-1] - frames[0] + 1 == len(frames):
        return slice(int(frames[0]), int(frames[-1]) + 1)
    return frames


def _numbers(field: Field, frames: slice | NDArray[np.int64], spec: FilesSource) -> NDArray[np.float64]:
    """Return the values of some frames as numbers, NaN where they are missing."""
    values = field.values[frames]
    numbers = values.astype(np.float64)
    for text in spec.missing:
        try:
            sentinel = float(text)
        except ValueError:
            continue
        # -999.9 differs between single and double precision.
        near = float(values.dtype.type(sentinel)) if values.dtype.kind == "f" else sentinel
        numbers[numbers == near] = np.nan
    return numbers * field.factor if field.factor != 1 else numbers
