"""The layouts of a payload table, wide, long and tidy, decoded into rows and refused rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.config import Feed
from pipeline.errors import ConfigError, ContractError
from pipeline.ingest.decoding.cells import as_json, read_numbers
from pipeline.ingest.decoding.rows import (
    LayoutSpec,
    assemble,
    cells_by_row,
    group_numbers,
    in_store_units,
    not_a_number,
    read_location_codes,
    require_columns,
    require_known,
    suggest,
    take_known,
)
from pipeline.ingest.decoding.tidy import decode_tidy
from pipeline.ingest.decoding.timestamp_parsing import Times
from pipeline.ingest.decoding.timestamps import read_valid_times
from pipeline.ingest.sources.base import Decoded
from pipeline.locations import Locations

__all__ = ["LayoutSpec", "decode_long", "decode_table", "decode_tidy", "decode_wide", "in_store_units"]


def decode_table(
    table: pa.Table, feed: Feed, spec: LayoutSpec, locations: Locations, *, known: Times | None = None
) -> Decoded:
    """Return the rows of a table of any layout, in payload order and in the units of the stores.

    An invalid time stamp refuses all values of its row. A cell that is not a number refuses its row; in a wide or tidy
    table the cell alone. Where the feed resamples irregular times, the last row of a location up to a grid point that
    has at least one value becomes the row of that point; the others are counted as downsampled.

    Args:
        table: text or typed columns with unique names.
        feed: for step, variables and units.
        spec: how the table is laid out.
        locations: of the feed.
        known: when each row became known, UTC, microseconds, if the source says so.

    Raises:
        ConfigError: the layout cannot hold the variables or locations of the feed.
        ContractError: the columns are not those of the feed.
    """
    decode = {"wide": decode_wide, "long": decode_long, "tidy": decode_tidy}[spec.layout]
    return decode(table, feed, spec, locations, known=known)


def decode_wide(
    table: pa.Table, feed: Feed, source: LayoutSpec, locations: Locations, *, known: Times | None = None
) -> Decoded:
    """Return the rows of a table with one column per station; a missing cell or column gives no row.

    Raises:
        ConfigError: the feed has several variables.
        ContractError: a column is neither a station nor ignored, so that nothing can shift silently.
    """
    if len(feed.variables) > 1:
        problem = f"wide holds one variable, and feed.variables names {len(feed.variables)}"
        raise ConfigError(feed.title, "feed.source.layout", problem, "use layout: long")
    require_known(feed, known)
    (variable,) = feed.variables
    others = _stations(table, source, locations)
    stamps = read_valid_times(table, source.time, feed.step, groups=None if known is None else group_numbers(known))
    read = [read_numbers(name, table.column(name), source.missing, source.decimal) for name in others]
    values, unreadable = (np.stack(part, axis=1) for part in zip(*read, strict=True))

    timed = ~np.isnat(stamps.valid_time)[:, np.newaxis]
    flat = np.flatnonzero(~np.isnan(values) & timed)  # in payload order: by row, then by column
    row, column = np.divmod(flat, len(others))
    bad = np.argwhere(unreadable | (~np.isnan(values) & ~timed))
    given = cells_by_row(table, bad[:, 0])
    refused = []
    for line, station in bad:
        cells, name = given[int(line)], others[station]
        reasons = [stamps.reasons[line]] if line in stamps.reasons else []
        if unreadable[line, station]:
            reasons.append(not_a_number(variable, cells[name]))
        kept = {key: cells[key] for key in (*source.time.columns, name)}
        refused.append((stamps.valid_time[line], name, as_json(kept), reasons))
    return assemble(
        feed,
        source,
        stamps.valid_time[row],
        column,
        pa.array(others, pa.string()),
        {variable: values.ravel()[flat]},
        known=take_known(known, row),
        refused=refused,
        notes=stamps.notes,
    )


def decode_long(
    table: pa.Table, feed: Feed, source: LayoutSpec, locations: Locations, *, known: Times | None = None
) -> Decoded:
    """Return the rows of a table with one row per time and location; a row without any value is dropped.

    Raises:
        ConfigError: no column has the location, and the feed has several.
        ContractError: a column of the product is missing.
    """
    require_known(feed, known)
    columns = {name: spec.source_name or name for name, spec in feed.variables.items()}
    require_columns(table, (*source.time.columns, *columns.values()))
    place, ids = read_location_codes(table, feed, source, locations)
    stamps = read_valid_times(table, source.time, feed.step, groups=group_numbers(place, known))
    read = {
        name: read_numbers(column, table.column(column), source.missing, source.decimal)
        for name, column in columns.items()
    }

    unreadable = np.any([bad for _, bad in read.values()], axis=0)
    present = np.any([~np.isnan(values) for values, _ in read.values()], axis=0)
    timed = ~np.isnat(stamps.valid_time)
    keep = np.flatnonzero(present & timed & ~unreadable)
    bad = np.flatnonzero(unreadable | (present & ~timed))
    given = cells_by_row(table, bad)
    refused = []
    for line in map(int, bad):
        cells = given[line]
        reasons = [stamps.reasons[line]] if line in stamps.reasons else []
        reasons += [not_a_number(name, cells[columns[name]]) for name, (_, wrong) in read.items() if wrong[line]]
        location = ids[place[line]].as_py() if place[line] >= 0 else None
        refused.append((stamps.valid_time[line], location, as_json(cells), reasons))
    return assemble(
        feed,
        source,
        stamps.valid_time[keep],
        place[keep],
        ids,
        {name: values[keep] for name, (values, _) in read.items()},
        known=take_known(known, keep),
        refused=refused,
        notes=stamps.notes,
    )


def _stations(table: pa.Table, source: LayoutSpec, locations: Locations) -> list[str]:
    """Return the names of the columns that are stations."""
    require_columns(table, source.time.columns)
    others = [name for name in table.column_names if name not in (*source.time.columns, *source.ignore)]
    known = set(locations.ids)
    for name in others:
        if name not in known:
            hint = suggest(name, locations.ids)
            raise ContractError(f"column '{name}' is not a station; {hint}or list it in feed.source.ignore")
    if not others:
        raise ContractError(f"no column is a station; expected some of {', '.join(locations.ids[:5])}")
    return others
